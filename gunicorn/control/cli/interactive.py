"""The interactive session: a prompt with history and completion."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from gunicorn.control import commands
from gunicorn.control.cli.render import render
from gunicorn.control.cli.words import patience
from gunicorn.control.client import CommandError, ControlClient, ControlClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Session", "completions"]

PROMPT = "gunicorn> "
_LEAVE = frozenset({"quit", "exit", "q"})
_OF_A_WORKER = (["stack"], ["worker", "kill"], ["worker", "retire"])


class Session:
    """Reads lines until ``quit``, and does what they say."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._matches: list[str] = []

    def run(self) -> int:
        """The session; its exit status.

        Raises:
            ControlClientError: there is no server.
        """
        self._client.connect()
        print(f"Connected to {self._client.socket_path}")
        print("Type 'help' for available commands, 'quit' to exit.\n")
        self._prepare_line_editing()
        while True:
            try:
                line = input(PROMPT)
            except EOFError:
                print()
                return 0
            except KeyboardInterrupt:
                # As in a shell: away with the line, not with the session.
                print("^C")
                continue
            if line.strip().lower() in _LEAVE:
                return 0
            if line.strip() and not self._obey(line):
                return 1

    def _obey(self, line: str) -> bool:
        """Do what a line says; False when the server is gone."""
        try:
            words = shlex.split(line)
            if words[:1] == ["top"]:
                from gunicorn.control.cli.top import run

                run(self._client, words[1:])
            else:
                self._client.timeout = patience(words)
                print(self._answer(words))
        except (CommandError, ValueError) as error:
            print(f"Error: {error}")
        except ControlClientError as error:
            print(f"Error: {error}")
            print("Connection lost. Exiting.")
            return False
        except KeyboardInterrupt:
            # The answer may still come; a new connection does not get it.
            self._client.close()
            print("^C")
        print()
        return True

    def _answer(self, words: Sequence[str]) -> str:
        was_connected = self._client.is_connected
        try:
            data = self._client.send_command(words[0], words[1:])
        except CommandError:
            raise
        except ControlClientError:
            # A server that was upgraded has closed this connection, and its successor listens at the same
            # path. What changes things is not said twice.
            if not was_connected or _changes(words):
                raise
            data = self._client.send_command(words[0], words[1:])
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        return render(words, data, width, sys.stdout.isatty())

    # --- line editing ---

    def _prepare_line_editing(self) -> None:
        if not sys.stdin.isatty():
            return
        try:
            import readline
        except ImportError:
            return
        history = os.path.expanduser("~/.gunicornc_history")
        with contextlib.suppress(OSError):
            readline.read_history_file(history)
        readline.set_history_length(1000)
        atexit.register(_write_history, history)
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        readline.set_completer_delims(" ")
        readline.set_completer(self._complete)

    def _complete(self, text: str, state: int) -> str | None:
        import readline

        if state == 0:
            before = readline.get_line_buffer()[: readline.get_begidx()].lower().split()
            pids = self._pids() if before in _OF_A_WORKER else []
            self._matches = [
                f"{word} " for word in completions(before, pids) if word.startswith(text.lower())
            ]
        return self._matches[state] if state < len(self._matches) else None

    def _pids(self) -> list[str]:
        try:
            return [str(worker["pid"]) for worker in self._client.send_command("show workers")["workers"]]
        except ControlClientError:
            return []


def completions(before: Sequence[str], pids: Iterable[str] = ()) -> list[str]:
    """The words that can follow those ``before``."""
    words = list(before)
    if words in _OF_A_WORKER:
        return [*pids, *(["all"] if words == ["stack"] else [])]
    if words == ["shutdown"]:
        return ["graceful", "quick"]
    if words == ["reload"]:
        return ["--wait"]
    names = [name.split() for name in [*commands.COMMANDS, "top", "quit"]]
    found = {name[len(words)] for name in names if name[: len(words)] == words and len(name) > len(words)}
    return sorted(found)


def _changes(words: Sequence[str]) -> bool:
    try:
        return commands.parse("", words).command.changes
    except ValueError:
        return True


def _write_history(path: str) -> None:
    import readline

    with contextlib.suppress(OSError):
        readline.write_history_file(path)
