#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person does in a ceremony, and what one could see afterwards.

ceremony_operator.py at TRANSCRIPT DEED [FILE] -- COMMAND...   COMMAND at a terminal of its own (pty(7)):
    write FILE    shares that are shown are written down, a line each, and words asked for are typed
    mistake FILE  the same, with one wrong answer
    type FILE     shares are typed, each word of FILE as it stands there
    give-up       ^C at the first screen
    kill          SIGTERM at the first screen
  The exit status is COMMAND's. Everything that came out is in TRANSCRIPT.

ceremony_operator.py kept PID TEXT-FILE...   searches all memory of a process for what is in these files. Exit status 0 if it
  is there, and in locked pages that no core dump has and no child inherits, alone.
"""
import os
import pty
import re
import select
import signal
import sys

EMPTY = "\x1b[H\x1b[J"


class Terminal:
    def __init__(self, transcript, command):
        self.transcript = open(transcript, "wb")
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def read(self):
        """False at the end."""
        if not select.select([self.fd], [], [], 60)[0]:
            sys.exit("ceremony_operator.py: nothing on the terminal for a minute: " + repr(self.screen()))
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            data = b""
        self.transcript.write(data)
        self.text += data.decode()
        return bool(data)

    def screen(self):
        return self.text.rsplit(EMPTY, 1)[-1]

    def until(self, pattern):
        """The match of the pattern on the screen; None if the command ends before."""
        while True:
            found = re.search(pattern, self.screen(), re.S)
            if found or not self.read():
                return found

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        while self.read():
            pass
        self.transcript.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def write_down(terminal, path, mistakes):
    shares = []
    while True:
        found = terminal.until(r"Share (\d+) of (\d+).*Press a key when you have them all|sealed")
        if not found or not found[1]:
            break
        words = [word for _, word in sorted((int(n), word) for n, word in
                 re.findall(r" (\d+) ([a-z]+)", terminal.screen().split("words:")[1]))]
        number, of = int(found[1]), int(found[2])
        terminal.type(" ")
        for turn in range(2):
            asked = terminal.until(r"Type word (\d+) of what" + r".*?Type word (\d+) of what" * turn)
            word = words[int(asked[turn + 1]) - 1]
            if mistakes:
                word = "zero" if word != "zero" else "yoga"
            terminal.type(word + "\n")
            if mistakes:
                break
        if mistakes:
            mistakes -= 1
            terminal.until(r"That is not what was shown")
            continue
        shares.append(" ".join(words))
        if number == of:
            break
        terminal.until(r"Share %d is done" % number)
        terminal.type(" ")
    with open(path, "w") as file:
        file.write("".join(share + "\n" for share in shares))


def type_in(terminal, path):
    if terminal.until(r"Type a share"):
        with open(path) as file:
            terminal.type(" ".join(file.read().split()) + " ")


def at(transcript, deed, *rest):
    cut = rest.index("--")
    terminal = Terminal(transcript, rest[cut + 1:])
    if deed in ("write", "mistake"):
        write_down(terminal, rest[0], deed == "mistake")
    elif deed == "type":
        type_in(terminal, rest[0])
    else:
        terminal.until(r"Press a key when|of 33")
        if deed == "kill":
            os.kill(terminal.pid, signal.SIGTERM)
        else:
            terminal.type("\x03")
    return terminal.end()


def regions(pid):
    """(start, end, flags) of each mapping that can be read."""
    region = None
    for line in open("/proc/%s/smaps" % pid):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r?)", line)
        if head:
            region = int(head[1], 16), int(head[2], 16), head[3]
        elif line.startswith("VmFlags:") and region[2]:
            yield region[0], region[1], line.split()[1:]


def kept(pid, *paths):
    needles = [open(path, "rb").read().strip(b"\n") for path in paths]
    found, bad = 0, []
    memory = open("/proc/%s/mem" % pid, "rb", 0)
    for start, end, flags in regions(pid):
        try:
            memory.seek(start)
            data = memory.read(end - start)
        except (OSError, OverflowError):
            continue
        if any(needle in data for needle in needles):
            found += 1
            if not {"lo", "dd", "dc"} <= set(flags):
                bad.append("%x-%x %s" % (start, end, " ".join(flags)))
    if bad or not found:
        print("in %d mappings; where it must not be: %s" % (found, bad))
    return 1 if bad or not found else 0


if __name__ == "__main__":
    sys.exit({"at": at, "kept": kept}[sys.argv[1]](*sys.argv[2:]))
