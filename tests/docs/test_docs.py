"""What is not documented does not exist; what is documented is true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def test_the_generated_reference_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, "tools/generate_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_decision_is_listed_and_names_its_cost():
    index = (ROOT / "docs/decisions/index.md").read_text()
    records = sorted((ROOT / "docs/decisions").glob("0*.md"))
    assert records
    for record in records:
        assert record.name in index
        assert "**Cost.**" in record.read_text(), record.name


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_every_command_line_in_the_docs_is_one_that_the_program_takes(page):
    from modelwright.interfaces.cli.app import cli

    for line in re.findall(r"^modelwright ([a-z][^\n#]*)", page.read_text(), flags=re.MULTILINE):
        words = line.replace("\\", "").split()
        command, context = cli, cli.make_context("modelwright", [], resilient_parsing=True)
        while hasattr(command, "get_command"):
            found = command.get_command(context, words[0])
            assert found is not None, f"{page.name}: modelwright {line}"
            command, words = found, words[1:]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.split("=")[0] for word in words if word.startswith("-")}
        assert used <= known | {"--help"}, f"{page.name}: modelwright {line}"


def test_the_ledger_actions_in_the_docs_are_those_in_the_code():
    documented = set(
        re.findall(r"`([a-z]+\.[a-z-]+)`", (ROOT / "docs/reference/stages.md").read_text().split("Ledger actions:")[1])
    )
    sources = [path for path in (ROOT / "src/modelwright").rglob("*.py") if "testing" not in path.parts]
    code = "\n".join(path.read_text() for path in sources)
    missing = {action for action in documented if f'"{action}"' not in code}
    assert not missing
    written = set(re.findall(r'action="([a-z]+\.[a-z-]+)"', code)) | set(
        re.findall(r'\.append\(\s*"([a-z]+\.[a-z-]+)"', code)
    )
    assert written <= documented
