"""HTML reports: self-contained pages with inline SVG and no external resources."""
