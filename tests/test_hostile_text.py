"""Texts from files of other people never reach a terminal or a page as control characters."""

import json
import re
import shutil
import sys
import unicodedata
from io import StringIO
from pathlib import Path

import pytest
from conftest import make_pictures, write_preset
from rich.table import Table
from rich.text import Text

from gancli import folders
from gancli.cli import live, show
from gancli.report import pages, svg
from gancli.results import Rejected, Tick, Warned
from gancli.runs import Run

TITLE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\x08"  # sets the title of a terminal and clears it
HIDDEN = "\u202e\u2066\u200f\u061c\u200b\u2028\u0085"  # bidirectional, zero-width and separators of lines
HOSTILE = f"{TITLE}{HIDDEN}\nerror: faked"
BAD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
SGR = re.compile("\x1b\\[[0-9;]*m")  # colors and styles
CURSOR = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|\r")  # what the live table needs, and colors


def dirty(text):
    """What a terminal would not show as text, and lines that a text has begun."""
    return BAD.findall(text) + re.findall("^error: faked", text, re.MULTILINE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run folder of the tiny preset."""
    import gancli

    folder = tmp_path_factory.mktemp("hostile")
    preset = write_preset(folder / "tiny.yaml", {})
    data = make_pictures(folder / "pictures", 24)
    return gancli.train(preset, str(data), outdir=folder / "runs", threads=1, device="cpu").run


@pytest.fixture
def hostile_run(trained, tmp_path):
    """A copy of the run whose folder, preset, warnings and verdict are hostile."""
    run = Run(tmp_path / "runs" / f"00000-{HOSTILE}")
    shutil.copytree(trained, run.path)
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("preset: tiny", f"preset: {json.dumps(HOSTILE)}"))
    ticks = run.stats()
    warning = {"name": HOSTILE, "text": HOSTILE, "since": 0, "checkpoint": HOSTILE}
    run.stats_file.write_text("".join(json.dumps({**tick, "warnings": [warning]}) + "\n" for tick in ticks))
    run.verdict_file.write_text(json.dumps({"verdict": HOSTILE, "confidence": HOSTILE, "images": 1}))
    return run


class TestPresets:
    @pytest.mark.parametrize("verb", [["presets", "show"], ["presets", "validate"], ["train", "-n", "--preset"]])
    def test_its_name_and_its_story(self, gancli, tmp_path, pictures, verb):
        """A valid preset with a hostile file name and comment."""
        path = tmp_path / f"{HOSTILE}.yaml"
        text = Path(write_preset(tmp_path / "tiny.yaml", {})).read_text()
        path.write_text(f"# story {HIDDEN[:-2]}\n{text}")
        more = [pictures, "--outdir", tmp_path / "runs"] if verb[0] == "train" else []

        code, out, err = gancli(*verb, path, *more)

        assert code == 0
        assert "202e" in out
        assert dirty(out + err) == []

    def test_the_list(self, gancli, tmp_path, monkeypatch):
        """Stories, and names of files."""
        (tmp_path / f"{TITLE}.yaml").write_text("")
        (tmp_path / "other.yaml").write_text(f"# {HIDDEN[:-2]}\n")
        monkeypatch.setattr(folders, "PRESETS", (tmp_path,))

        code, out, err = gancli("presets", "list")

        assert code == 0
        assert len(out.splitlines()) == 2
        assert dirty(out + err) == []

    @pytest.mark.parametrize("flag", [[], ["--json"]])
    @pytest.mark.parametrize(
        "text",
        [
            f"# {TITLE}\n", f"a: {TITLE}\n", f"{json.dumps(HOSTILE)}: 1\n", f"train: {{{json.dumps(HOSTILE)}: 1}}\n",
            f"network: {{family: {json.dumps(HOSTILE)}}}\n", f"train: {{lr: {json.dumps(HOSTILE)}}}\n",
            f"extends: {json.dumps(HOSTILE)}\n", f"extends: {json.dumps(HOSTILE + '.yaml')}\n",
            f"a: !{HIDDEN} 1\n", f"a: [{HIDDEN}\n", f"a: *{HIDDEN}\n", f"{HIDDEN[:5]}: 1\n{HIDDEN[:5]}: 2\n",
        ],
    )  # fmt: skip
    def test_what_is_wrong_with_it(self, gancli, tmp_path, text, flag):
        """Keys, values and syntax that an error repeats."""
        path = tmp_path / f"{HOSTILE}.yaml"
        path.write_text(text)

        code, out, err = gancli("presets", "validate", path, *flag)

        assert code in (66, 78)
        assert len(err.splitlines()) == (1 if flag else 3)
        assert dirty(out + err) == []


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--set", f"{TITLE}=1"], ["train", "--set", f"train.{HIDDEN}=1"], ["train", "--set", HOSTILE],
        ["train", "--set", f"train.lr={HOSTILE}"], ["train", "--preset", HOSTILE], ["train", "--stop-on", HOSTILE],
        ["train", "--device", HOSTILE, "builtin:shapes"], ["train", "--fit", HOSTILE], [f"--{HOSTILE}"], [HOSTILE],
        ["train", f"--{HOSTILE}"], ["train", HOSTILE], ["sample", HOSTILE], ["sample", "--format", HOSTILE],
        ["sample", "--cols", HOSTILE], ["sample", "--seeds", HOSTILE], ["inspect-stats", HOSTILE],
        ["inspect-stats", "--fail-on", HOSTILE], ["runs", "--outdir", HOSTILE], ["report", HOSTILE],
        ["presets", "show", HOSTILE], ["train", "--log-format", HOSTILE], ["grow", HOSTILE],
    ],
)  # fmt: skip
def test_what_is_given_on_the_command_line(gancli, tmp_path, monkeypatch, words):
    """Values that an error repeats, as text and as JSON."""
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--json"]):
        _, out, err = gancli(*words, *more)
        assert out + err
        assert dirty(out + err) == []


class TestRunFolders:
    @pytest.mark.parametrize("words", [["runs"], ["runs", "--json"], ["inspect-stats", "--watch"],
                                       ["inspect-stats", "--watch", "--json"]])  # fmt: skip
    def test_names_warnings_and_verdicts(self, gancli, hostile_run, words):
        """In the list of runs and in the log that is followed."""
        code, out, err = gancli(*words, "--outdir", hostile_run.path.parent)

        assert code == 0
        assert "pwned" in out + err
        assert dirty(out + err) == []

    @pytest.mark.parametrize("words", [["runs"], ["runs", "--json"], ["inspect-stats", "--watch"]])
    def test_numbers_that_are_missing_or_huge(self, gancli, hostile_run, words):
        """In any field of the log."""
        names = [name for name in Tick.__dataclass_fields__ if name not in ("warnings", "images")]
        rows = [dict.fromkeys(names, value) | {"images": 5, "warnings": []} for value in (None, 1e308, -1e308, 2**53)]
        hostile_run.stats_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert gancli(*words, "--outdir", hostile_run.path.parent)[0] == 0

    def test_a_log_without_positions_is_followed(self, gancli, hostile_run):
        """The bar stays where it is."""
        row = dict.fromkeys(Tick.__dataclass_fields__) | {"warnings": []}
        hostile_run.stats_file.write_text(json.dumps(row) + "\n")
        assert gancli("inspect-stats", "--watch", "--outdir", hostile_run.path.parent)[0] == 0

    @pytest.mark.parametrize("words", [["inspect-stats", "--quick", "--all"], ["report", "--quick"], ["resume"]])
    def test_commands_on_one_run(self, gancli, hostile_run, words):
        """The path of the folder, and the warnings in its log."""
        code, out, err = gancli(*words, hostile_run.path)

        assert code == 0
        assert "pwned" in out + err
        assert dirty(out + err) == []

    def test_the_page(self, gancli, hostile_run, tmp_path):
        """Name, preset, warnings and config."""
        assert gancli("report", "--quick", hostile_run.path, "-o", tmp_path / "page.html")[0] == 0

        page = (tmp_path / "page.html").read_text()
        assert page.count("pwned") >= 4
        assert dirty(page) == []

    def test_json_keeps_the_values(self, gancli, hostile_run):
        """Escapes of JSON stand for the same text."""
        (item,) = json.loads(gancli("runs", "--json", "--outdir", hostile_run.path.parent)[1])["items"]
        assert (item["name"], item["verdict"]) == (hostile_run.path.name, HOSTILE)


def test_names_of_data_files(gancli, tmp_path):
    """Files that are skipped are named."""
    data = make_pictures(tmp_path / "pictures", 24)
    (data / f"{HOSTILE}.png".replace("/", "")).write_bytes(b"no image")
    preset = write_preset(tmp_path / "tiny.yaml", {})

    code, out, err = gancli("train", data, "--preset", preset, "--outdir", tmp_path, "-n", "-v")

    assert code == 0
    assert "pwned" in err
    assert dirty(out + err) == []


class TestTheRenderer:
    def test_every_character_of_one_line(self):
        """What is left is printable, or a space of some width."""
        for code in (*range(0x20000), *range(0xE0000, 0xE0200)):
            for c in show.one_line(chr(code)):
                assert c.isprintable() or unicodedata.category(c) == "Zs", hex(code)

    def test_text_without_hidden_characters_is_left_alone(self):
        """Letters of all scripts, emoji, and wide spaces."""
        text = "Ünï 蛙\u3000\u00a0🐸"
        assert show.one_line(f"{text}\0") == f"{text}\\x00"
        assert show.json_text("蛙") == '"蛙"'

    def test_json_is_the_same_value(self):
        """Also for characters beyond 16 bits and bytes that are not UTF-8."""
        value = {HOSTILE: [HOSTILE, "\U000e0041", "\udcff", 'a"\\']}
        text = show.json_text(value)
        assert dirty(text) == []
        assert text.isascii()
        assert json.loads(text) == value

    def test_a_terminal_gets_only_the_styles_of_rich(self, gancli, hostile_run, monkeypatch):
        """Errors, messages and tables in color."""
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        listed = gancli("runs", "--outdir", hostile_run.path.parent)
        failed = gancli("runs", "--outdir", hostile_run.path.parent, "--nope" + HOSTILE)

        text = "".join((*listed[1:], *failed[1:]))
        assert len(SGR.findall(listed[1])) > 1
        assert len(SGR.findall(failed[2])) > 1
        assert dirty(SGR.sub("", text)) == []

    def test_texts_that_a_caller_did_not_clean(self):
        """Cells, titles and markup of any renderable are cleaned where they are written."""
        table = Table("a", TITLE, title=Text(HIDDEN))
        table.add_row(TITLE, Text(HIDDEN, style="red"))
        file = StringIO()
        console = show.Clean(file=file, force_terminal=True, color_system="truecolor", width=200)
        console.print(table)
        console.print(f"[red]{TITLE}[/]", TITLE)

        assert "202e" in file.getvalue()
        assert dirty(SGR.sub("", file.getvalue())) == []

    def test_the_live_table(self, monkeypatch):
        """Warnings while the cursor moves."""
        file = StringIO()
        make = lambda: show.Clean(file=file, force_terminal=True, width=160, color_system="standard")  # noqa: E731
        monkeypatch.setattr(show, "stderr", make)
        monkeypatch.setattr("gancli.cli.live.announce", lambda *a: None)
        table = live.LiveTable()
        values = dict.fromkeys(Tick.__dataclass_fields__, 0.5) | {
            "images": 10,
            "warnings": (Warned(*[HOSTILE] * 2, 0, None),),
        }

        class Config:
            class train:  # noqa: N801
                duration = 100

        table.start(None, Config, 0, None)
        table.tick(Tick(**values))
        table.close()

        assert "pwned" in file.getvalue()
        assert dirty(CURSOR.sub("", file.getvalue())) == []

    def test_lines_of_the_log(self, capfd):
        """key=value and JSON lines."""
        values = dict.fromkeys(Tick.__dataclass_fields__, 0.5) | {"warnings": (Warned(*[HOSTILE] * 2, 0, None),)}
        for as_json in (False, True):
            live.Lines(as_json=as_json).tick(Tick(**values))
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 2
        assert dirty(err) == []


class TestPages:
    def test_values_of_a_template(self, monkeypatch):
        """Text, and HTML that joins texts; names keep their letters."""
        from jinja2 import DictLoader

        template = "{{ a }}|{{ [a, b] | join(' ') }}|{{ b }}"
        monkeypatch.setattr(pages, "PackageLoader", lambda name: DictLoader({"x": template}))
        text = pages.render("x", {"a": HOSTILE, "b": "蛙<b>"})
        assert dirty(text) == []
        assert text.endswith("|蛙&lt;b&gt;")

    def test_labels_of_charts(self):
        """Names of lines and titles."""
        import numpy as np

        line = svg.Line(HOSTILE, np.arange(3.0), np.arange(3.0))
        chart = svg.line_chart([line, line], HOSTILE, HOSTILE, [svg.Phase(HOSTILE[:3], 0, 2)])
        assert dirty(chart + svg.histogram([1.0], [1.0], "red", HOSTILE)) == []


def test_rejected_files_are_one_line_each(capfd):
    """A newline in a reason does not begin a line."""
    from gancli.results import DataReport

    show.data_report(DataReport("x", "image", 1, 0, (1, 1, 1), rejected=(Rejected(HOSTILE, HOSTILE),)))
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 2
    assert dirty(err) == []
