"""``arkloom top``: a run seen from its events and from its addresses, whole, torn, lost and resumed."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from rich.console import Console

from arkloom import cli
from arkloom.errors import EXIT_BAD_INPUT, EXIT_DONE
from arkloom.telemetry import Events
from arkloom.telemetry.meters import TurnMeter
from arkloom.telemetry.screen import picture
from arkloom.telemetry.serving import series, served
from arkloom.telemetry.sightings import FromAddresses, FromEvents, Node

pytestmark = pytest.mark.usefixtures("one_stage")

NOW = 1_000_000.0


def counts(turns: float, done: int = 0, total: int = 100, **more: float) -> dict[str, float]:
    """Values of a debate under way."""
    return {
        series("arkloom_debate_turns_total", {"stage": "debate"}): turns,
        series("arkloom_debate_tokens_total", {"direction": "prompt"}): 200 * turns,
        series("arkloom_debate_tokens_total", {"direction": "cached"}): 150 * turns,
        series("arkloom_debate_tokens_total", {"direction": "completion"}): 40 * turns,
        series("arkloom_debate_problems", {"state": "done"}): done,
        series("arkloom_debate_problems", {"state": "total"}): total,
        series("arkloom_debate_agreement", {"round": "0"}): 0.5,
        series("arkloom_debate_agreement", {"round": "1"}): 0.75,
        series("arkloom_debate_accuracy", {"answer": "vote_round0"}): 0.56,
        series("arkloom_debate_accuracy", {"answer": "final"}): 0.86,
        "arkloom_debate_gain": 0.3,
        "arkloom_debate_no_answer_share": 0.079,
        "arkloom_debate_queued": 17,
        "arkloom_debate_in_flight": 32,
        "arkloom_debate_eta_seconds": 185,
        series("arkloom_engine_retries_total", {"reason": "timeout"}): 3,
        series("arkloom_endpoint_up", {"endpoint": "a:8000"}): 1,
        series("arkloom_endpoint_up", {"endpoint": "b:8000"}): 0,
        series("arkloom_endpoint_requests_total", {"endpoint": "a:8000", "outcome": "ok"}): 1234,
        **more,
    }


def told(path: Path, *events: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.writelines(f"{json.dumps({'node': 'debate', **event})}\n" for event in events)
    return path


def values(at: float, counted: dict[str, float], **more: Any) -> dict[str, Any]:
    return {"time": at, "event": "metrics", "values": counted, **more}


def drawn(nodes: list[Node], now: float = NOW) -> str:
    console = Console(width=130, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(picture("run", nodes, now))
    return console.export_text()


def test_all_that_a_debate_tells_is_shown(tmp_path: Path) -> None:
    path = told(tmp_path / "events.jsonl", values(NOW - 10, counts(100)), values(NOW, counts(300, 20)))
    (node,) = FromEvents(path).look()
    assert node.pace() == (20.0, 4000.0, 800.0)
    text = drawn([node])
    for shown in (
        "20.0", "turns 300", "in engine 32", "queue 17", "in 4,000, out 800", "total in 60 k, out 12 k",
        "cached 75.0%", "0.50 → 0.75", "vote 0.560 → final 0.860", "gain +0.300", "7.9%",
        "retries 3 (timeout 3)", "20/100", "eta 3:05", "a:8000", "● up", "answered 1,234", "b:8000", "○ down",
    ):  # fmt: skip
        assert shown in text, f"{shown!r} is not shown:\n{text}"


def test_a_gain_is_not_known_before_it_is(tmp_path: Path) -> None:
    later = ("accuracy", "gain")
    counted = {name: value for name, value in counts(10).items() if not any(word in name for word in later)}
    text = drawn(FromEvents(told(tmp_path / "events.jsonl", values(NOW, counted))).look())
    assert "gain -" in text
    assert "final" not in text


def test_only_what_is_new_is_read_and_torn_lines_wait(tmp_path: Path) -> None:
    path = told(tmp_path / "events.jsonl", values(NOW, counts(1)))
    seen = FromEvents(path)
    seen.look()
    line = json.dumps({"node": "debate", **values(NOW + 1, counts(5))})
    with path.open("a") as stream:
        stream.write(line[:40])
    assert seen.look()[0].pace() is None
    with path.open("a") as stream:
        stream.write(f"{line[40:]}\n")
    assert seen.look()[0].pace() == (4.0, 800.0, 160.0)


def test_a_run_begun_anew_in_the_same_folder_is_followed(tmp_path: Path) -> None:
    path = told(tmp_path / "events.jsonl", values(NOW, counts(100), node="old"), values(NOW, counts(200)))
    seen = FromEvents(path)
    assert len(seen.look()) == 2
    path.unlink()
    assert len(seen.look()) == 2, "what was seen last stays until something new is told"
    told(path, values(NOW, counts(7)))
    (node,) = seen.look()
    assert (node.name, node.sum("arkloom_debate_turns_total")) == ("debate", 7)


def test_a_process_that_goes_on_counts_from_0_again(tmp_path: Path) -> None:
    path = told(
        tmp_path / "events.jsonl",
        values(NOW - 9, counts(500)),
        values(NOW - 8, counts(600)),
        values(NOW - 1, counts(10)),
        values(NOW, counts(30)),
    )
    (node,) = FromEvents(path).look()
    assert node.pace() == (20.0, 4000.0, 800.0)
    assert min(node.curve()) >= 0


def test_states_of_nodes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    moved = {"event": "progress", "task": "debate debates", "total": 100, "note": "9 turns/s"}
    told(path, {"time": NOW - 300, **moved, "done": 0}, values(NOW - 200, counts(5, 1)))
    (node,) = FromEvents(path).look()
    assert "silent" in drawn([node])
    told(path, {"time": NOW - 100, "event": "published"}, values(NOW - 100, counts(9, 100)))
    (node,) = FromEvents(path).look()
    assert node.state == "done", "the last count comes after the word that it is done"
    assert "done" in drawn([node])
    assert "3:20" in drawn([node])
    told(path, {"time": NOW - 5, **moved, "done": 0})
    assert FromEvents(path).look()[0].state == "runs"


def test_of_very_many_endpoints_those_that_are_down_are_shown(tmp_path: Path) -> None:
    many = {series("arkloom_endpoint_up", {"endpoint": f"pod-{n}:8000"}): float(n != 30) for n in range(40)}
    text = drawn(FromEvents(told(tmp_path / "events.jsonl", values(NOW, counts(5, **many)))).look())
    assert "pod-30:8000" in text
    assert text.count("○ down") == 2, "b:8000 is the other"
    assert "and 34 more" in text
    assert "40 of 42 up" in text


def test_many_shares_get_a_line_each_and_one_together(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for share in range(5):
        agreed = {series("arkloom_debate_agreement", {"round": "1"}): 0.5 + 0.1 * share}
        told(
            path,
            values(NOW - 10, counts(0), node=f"debate-{share}"),
            values(NOW, counts(100, 10 * share, **agreed), node=f"debate-{share}"),
        )
    lines = drawn(FromEvents(path).look()).splitlines()
    rows = {
        line.split()[1]: line.split() for line in lines if "turns/s" not in line and len(line.split()) > 9
    }
    assert len(rows) == 6
    assert rows["debate-3"][2:12] == [
        "30/100", "10.0", "32", "17", "75.0%", "0.80", "+0.300", "3", "1/2", "3:05",
    ]  # fmt: skip
    # The mean agreement is one over debates: 10 at 0.6, 20 at 0.7, 30 at 0.8, 40 at 0.9.
    assert rows["together"][2:12] == [
        "100/500", "50.0", "160", "85", "75.0%", "0.80", "+0.300", "15", "5/10", "3:05",
    ]  # fmt: skip


def test_other_stages_tell_their_progress_and_markup_is_text(tmp_path: Path) -> None:
    moved = {"task": "sft steps", "done": 3, "total": 9, "note": "[red]loss 1.2"}
    path = tmp_path / "events.jsonl"
    told(path, {"time": NOW, "event": "progress", "node": "sft", **moved})
    told(path, {"event": "progress", "node": 7}, {"node": "x"}, {"event": "found", "node": None})
    text = drawn(FromEvents(path).look())
    assert "steps [red]loss 1.2" in text
    assert "3/9" in text


def test_eta_of_a_stage_that_tells_none_comes_from_its_progress() -> None:
    node = Node("sft")
    for at, done in ((NOW, 10), (NOW + 20, 30)):
        node.move("steps", done, 100, "", at)
    assert node.eta() == 70.0


def test_an_address_is_read_lost_and_found_again() -> None:
    port = free_port()
    seen = FromAddresses([f":{port}"])
    (node,) = seen.look()
    assert (node.state, "refused" in node.note.lower()) == ("lost", True)
    assert "lost" in drawn([node])
    TurnMeter("debate").spoke(10, 5, 5)
    with served(port, {"run_id": "r-1", "stage": "debate", "node": "debate-0"}, Events()):
        (node,) = seen.look()
        assert (node.name, node.state) == ("debate-0", "runs")
        assert node.spoke
        TurnMeter("debate").spoke(10, 5, 5)
        assert (seen.look()[0].pace() or (0,))[0] > 0
    (node,) = seen.look()
    assert (node.name, node.state) == ("debate-0", "lost")


def test_an_address_of_something_else_is_told() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        (node,) = FromAddresses([f"127.0.0.1:{server.server_port}/nothing"]).look()
    finally:
        server.shutdown()
        server.server_close()
    assert (node.state, "not found" in node.note) == ("lost", True)


def test_an_address_that_speaks_no_http_is_lost() -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        (node,) = FromAddresses([f"127.0.0.1:{listener.getsockname()[1]}"]).look()
    assert (node.state, "SSH" in node.note) == ("lost", True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "no run has told anything here"),
        ([], "no run has told anything here"),
        (["--metrics", "file:///etc/passwd"], "no address of metrics"),
        (["--metrics", "http://"], "no address of metrics"),
        (["--metrics", "host:port"], "no address of metrics"),
        (["x", "--metrics", ":9464"], "a run and --metrics"),
        (["--every", "0"], "not 0.1 to 3600 seconds"),
        (["--every", "nan"], "not 0.1 to 3600 seconds"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(["top", *arguments]) == EXIT_BAD_INPUT
    line = capsys.readouterr().err
    assert says in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("name", [None, "demo", "runs/demo", "demo-0a1b2c3d", "runs/demo/events.jsonl"])
def test_a_run_is_found_by_folder_name_id_or_because_it_is_the_newest(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old = told(tmp_path / "runs" / "old" / "events.jsonl", values(NOW, counts(77)))
    os.utime(old, (1, 1))
    told(tmp_path / "runs" / "demo" / "events.jsonl", values(NOW, counts(42)))
    assert cli.main(["top", *([name] if name else [])]) == EXIT_DONE
    assert "turns 42" in capsys.readouterr().out


def test_a_picture_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = told(tmp_path / "events.jsonl", values(NOW, counts(42)))
    assert cli.main(["top", str(path), "--once", "--svg", str(tmp_path / "top.svg")]) == EXIT_DONE
    assert "<svg" in (tmp_path / "top.svg").read_text()
    assert cli.main(["top", str(path), "--svg", str(tmp_path / "no" / "top.svg")]) == EXIT_BAD_INPUT


def test_on_a_terminal_it_follows_until_it_is_interrupted(tmp_path: Path) -> None:
    path = told(tmp_path / "events.jsonl", values(NOW, counts(42)))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 130, 0, 0))
    command = [sys.executable, "-m", "arkloom", "top", str(path), "--every", "0.1"]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env=os.environ | {"TERM": "xterm"}
    )
    os.close(theirs)
    screen = b""
    while b"turns 42" not in screen:
        screen += os.read(ours, 4096)
    told(path, values(NOW + 1, counts(43)))
    while b"turns 43" not in screen:
        screen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while more := os.read(ours, 4096):
            screen += more
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=30) == EXIT_DONE
    assert b"Traceback" not in screen
    left = screen.rpartition(b"\x1b[?1049l")[2].decode()  # what follows the end of the alternate screen
    assert "turns 43" in left, "the last picture stays"
