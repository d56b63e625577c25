#!/usr/bin/env python3
"""Run one command so that it cannot outlive us, hang for ever, or leave a process behind.

    supervise.py --timeout S --stdout F --stderr F --status F --log F [--set NAME=VALUE]... -- COMMAND...

The command runs in a session of its own with stdin from /dev/null. We are its subreaper: whatever daemonises
or is orphaned comes back to us, so "its processes" is exactly the tree below us, servers included. On expiry
the stacks of all of them go to the log (gdb, where there is one) and all are killed. On SIGTERM, SIGINT or
the death of our parent all are killed.

The status file gets one line: `exit N`, `signal N`, `timeout after N s` or `left running: NAME…`; a second
line is the wall time in seconds.
"""
import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE = 10.0  # seconds that daemons get to end after the command ended


class Expired(Exception):
    pass


def on_alarm(_signal, _frame):
    raise Expired


def on_stop(_signal, _frame):
    kill_descendants()
    os._exit(143)


def descendants():
    """Every live process below us, as {pid: name}."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        if rest[0] not in "ZX":
            parents[int(entry)], names[int(entry)] = int(rest[1]), name
    found, before = {os.getpid()}, 0
    while len(found) != before:
        before = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return {pid: names[pid] for pid in found if pid != os.getpid() and pid in names}


def kill_descendants():
    for _ in range(50):  # new ones may appear while we kill
        living = descendants()
        if not living:
            break
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.02)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:  # nobody else may reap what is ours
            pass
    except ChildProcessError:
        pass


def print_stacks(log):
    """All threads of all descendants, by gdb; at most a dozen processes."""
    gdb = shutil.which("gdb")
    with open(log, "a", encoding="utf-8") as out:
        for pid, name in list(sorted(descendants().items()))[:12]:
            out.write(f"--- {name}\n")
            out.flush()
            if not gdb:
                out.write("(no gdb: apt-get install gdb)\n")
                continue
            command = [gdb, "-nx", "--batch", "-iex", "set debuginfod enabled off", "-p", str(pid),
                       "-ex", "thread apply all bt 25"]
            try:
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL,
                               timeout=30, check=False)
            except subprocess.TimeoutExpired:
                out.write("(gdb did not answer within 30 s)\n")


def wait_for(child):
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def wait_for_the_rest():
    """Reap until nothing is below us; the names of what is still there after the grace."""
    end = time.monotonic() + GRACE
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return []
    return sorted(descendants().values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, required=True)
    for name in ("--stdout", "--stderr", "--status", "--log"):
        parser.add_argument(name, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, on_stop)
    signal.signal(signal.SIGINT, on_stop)
    signal.signal(signal.SIGHUP, on_stop)
    signal.signal(signal.SIGALRM, on_alarm)

    environment = dict(os.environ, **dict(pair.split("=", 1) for pair in args.set))
    started = time.monotonic()
    with open(args.stdout, "wb") as out, open(args.stderr, "wb") as err:
        child = subprocess.Popen(args.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 env=environment, start_new_session=True)
        try:
            signal.setitimer(signal.ITIMER_REAL, args.timeout)
            status = wait_for(child.pid)
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = time.monotonic() - started
            if os.WIFSIGNALED(status):
                verdict = f"signal {os.WTERMSIG(status)}"
            else:
                verdict = f"exit {os.WEXITSTATUS(status)}"
            left = wait_for_the_rest()
            if left:
                verdict = f"left running: {' '.join(left)}"
        except Expired:
            seconds = time.monotonic() - started
            verdict = f"timeout after {args.timeout:g} s"
            print_stacks(args.log)
        finally:
            kill_descendants()
    with open(args.status, "w", encoding="utf-8") as file:
        file.write(f"{verdict}\n{seconds:.2f}\n")
    child.returncode = 0  # reaped above; keeps Popen from asking again
    sys.stdout.flush()
    os._exit(0)


main()
