"""Run folders as pages: one self-contained HTML file each, with inline SVG and nothing to fetch."""
