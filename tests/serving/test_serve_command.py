"""`unveil serve` at the terminal: what cannot be served is one line and exit code 2."""

import socket
import sys

import pytest
from helpers.serving import server, spoken

from unveil.cli import main
from unveil.serving.limits import Limits

TOKEN = "a-token-of-several-letters"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0", "--allow-host", "models.example"], "0.0.0.0, models.example can be reached by others"),
        (["--host", "192.0.2.1"], "--token-file token, or UNVEIL_TOKEN"),
        (["--token-file", "none"], "the token in none cannot be read"),
        (["--token-file", "short"], "a token of 5 characters cannot be"),
        (["--token-file", "token", "--host", "0.0.0.0"], "--allow-host NAME"),
        (["--token-file", "token", "--host", "192.0.2.1"], "192.0.2.1 port 8000 cannot be served at"),
        (["--allow-origin", "*"], "'*' is no origin"),
        (["--port", "70000"], "there is no port 70000; give 1 to 65535"),
        (["--port", "TAKEN"], "cannot be served at: Address already in use; give another --host or --port"),
        (["--samples", "0"], "0 draws cannot score an x"),
        (["--queue", "0"], "a limit of 0 queue leaves nothing"),
        (["--examples", "x"], "--examples"),
    ],
)
def test_what_cannot_be_served_is_one_line(options, words, runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNVEIL_TOKEN", raising=False)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "short").write_text("short")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = [str(taken.getsockname()[1]) if one == "TAKEN" else one for one in options]
        assert main(["serve", str(runs["flat"].path), *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("unveil: ")
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert TOKEN not in said.err


def test_a_folder_that_is_no_run_is_one_line(tmp_path, capsys):
    assert main(["serve", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err


def test_where_the_server_is_missing_the_line_says_what_to_install(runs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(runs["flat"].path)]) == 2
    assert "pip install 'unveil[serve]'" in capsys.readouterr().err


def test_a_token_in_the_environment_is_asked_for(runs, monkeypatch):
    monkeypatch.setenv("UNVEIL_TOKEN", TOKEN)
    with server(runs["flat"].path, "--allow-host", "models.example") as (port, _):
        start = f"GET /health HTTP/1.1\r\nHost: models.example:{port}\r\nConnection: close\r\n"
        assert spoken(port, f"{start}\r\n".encode()).startswith(b"HTTP/1.1 401")
        assert spoken(port, f"{start}Authorization: Bearer {TOKEN}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200")


def test_what_it_says_to_try_can_be_tried_on_this_machine(runs, monkeypatch):
    """Of a server at every address, which is no Host, and with the header that it asks for."""
    monkeypatch.setenv("UNVEIL_TOKEN", TOKEN)
    with server(runs["flat"].path, "--host", "0.0.0.0", "--allow-host", "models.example") as (port, process):
        tried = process.stdout.readline()
        assert tried.startswith(f'try: curl http://127.0.0.1:{port}/sample -H "Authorization: Bearer TOKEN" --json')
        start = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}"
        assert spoken(port, f"{start}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200")


def test_help_names_every_option_with_the_limits_own_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    said = capsys.readouterr().out
    for option in ("--host", "--port", "--allow-host", "--allow-origin", "--token-file", "--no-batching", "--threads"):
        assert option in said
    assert f"default: {Limits.queue}" in said
