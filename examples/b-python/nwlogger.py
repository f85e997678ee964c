# SPDX-License-Identifier: Apache-2.0
"""Logging for programs of many processes, with NwLogger's interface and sawlog beneath.

    from nwlogger import NwLogger

    nwlogger = NwLogger(name="example", logging_level=logging.DEBUG, logdir="logs")
    logger = nwlogger.start()
    logger.info("How quickly daft jumping zebras vex.")
    Process(target=work, args=(nwlogger.logger_info(),)).start()
    ...
    nwlogger.stop()

    def work(info):
        NwLogger.get_logger(info, name="example.e1").warning("from another process")

start() runs one `sawlog serve`, which listens on loopback alone, stores every record below
LOGDIR/.sawlog and writes the files LOGDIR/[PREFIX.]NAME[.SUFFIX].log.  Programs on other hosts
reach it through ssh.  Only the standard library is used.
"""
import atexit
import collections
import copy
import functools
import json
import logging
import logging.handlers
import multiprocessing.util
import os
import pickle
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path

__all__ = ["NwLogger", "MpLogger", "SSHLogger", "NwLoggerError", "DEFAULT_FORMATS", "DEFAULT_DATEFMT"]

_FORMAT = "[ %(asctime)-15s ][ %(levelname)-7s ][ %(host)s ][ %(processName)-11s ][ %(message)s ]"
DEFAULT_FORMATS = {logging.DEBUG: _FORMAT + "[ %(module)s.%(funcName)s(%(lineno)d) ]",
                   "default": _FORMAT}
DEFAULT_DATEFMT = "%Y-%m-%d,%H:%M:%S.%f"

BACKLOG = 10_000        # records that wait in the program while the collector cannot be reached
START_SECONDS = 20
STOP_SECONDS = 15
SSH_SECONDS = 10        # for ssh to arrive
ARRIVED = "nwlogger-has-arrived"
CLOSE_SECONDS = 5       # for what still waits in a program that ends


class NwLoggerError(RuntimeError):
    pass


# Clients: what is attached to loggers, in every process.

class _Handler(logging.handlers.SocketHandler):
    """A SocketHandler that keeps what it cannot send yet.

    One object serves all loggers of a process: a record that passes several loggers of a hierarchy
    is sent once.
    """

    _all = weakref.WeakSet()

    def __init__(self, host, port):
        super().__init__(host, port)
        self.closeOnError = True
        self.dropped = 0
        self._backlog = collections.deque()
        self._seen = threading.local()
        self._all.add(self)
        self._at_exit()
        # A forked child of multiprocessing forgets what is to be done at its end.
        multiprocessing.util.register_after_fork(self, type(self)._at_exit)

    def _at_exit(self):
        # Those children end without atexit; other programs end by logging.shutdown.
        multiprocessing.util.Finalize(self, _close_late, (weakref.ref(self),), exitpriority=0)

    def forget(self):
        """In a forked child: the connection, and what waits for it, are the parent's."""
        self._backlog.clear()
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()

    def emit(self, record):
        if getattr(self._seen, "last", None) is record:
            return
        self._seen.last = record
        if "ip" not in record.__dict__:
            record = copy.copy(record)
            record.ip = _own_ip()
        super().emit(record)

    def send(self, frame):
        if len(self._backlog) >= BACKLOG:
            self._backlog.popleft()
            self.dropped += 1
        self._backlog.append(frame)
        self._drain()

    def _drain(self):
        while self._backlog:
            if self.sock is not None and self._gone():
                self._lose_connection()
            if self.sock is None:
                self.createSocket()
            if self.sock is None:
                return
            try:
                self.sock.sendall(self._backlog[0])
            except OSError:
                # Of a frame that came in part nothing is taken: it is sent again as a whole.
                self._lose_connection()
                return
            self._backlog.popleft()

    def _gone(self):
        """The collector never answers: what can be read is the end of the connection."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def _lose_connection(self):
        self.sock.close()
        self.sock = None

    def handleError(self, record):
        # SocketHandler would give up the connection for a record that cannot be pickled.
        logging.Handler.handleError(self, record)

    def close(self):
        end = time.monotonic() + CLOSE_SECONDS
        self.acquire()
        try:
            while self._backlog and time.monotonic() < end:
                self.retryTime = None
                self._drain()
                if self._backlog:
                    time.sleep(0.05)
            if self.sock is not None:
                self._say_goodbye()
                self._lose_connection()
        finally:
            self.release()
        super().close()

    def _say_goodbye(self):
        pass


class _SSHHandler(_Handler):
    """The same frames into the standard input of ssh, which takes them to the collector's host."""

    def __init__(self, info):
        self._child = None
        self._command = _ssh_command(info)
        self._pause, self._began = 1, float("-inf")
        super().__init__("ssh", 0)

    def makeSocket(self, timeout=1):
        now = time.monotonic()
        if now < self._began + self._pause:
            raise ConnectionError("ssh has ended a moment ago")
        self._pause = 1 if now > self._began + 60 else min(2 * self._pause, 30)
        self._began = now
        ours, theirs = socket.socketpair()
        with theirs:
            child = subprocess.Popen(self._command, stdin=theirs, stdout=subprocess.PIPE, bufsize=0,
                                     start_new_session=True)
        # What went into an ssh that never arrives would be lost.
        if not _arrived(child):
            child.kill()
            child.wait()
            child.stdout.close()
            ours.close()
            raise ConnectionError("ssh does not reach the collector")
        self._child = child
        ours.settimeout(CLOSE_SECONDS)
        return ours

    def forget(self):
        super().forget()
        self._child = None

    def _lose_connection(self):
        super()._lose_connection()
        child, self._child = self._child, None
        if child is not None:
            try:
                child.wait(1)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()

    def _say_goodbye(self):
        """The other side prints the word when every record before it is stored, and ends."""
        word = pickle.dumps("TERM")
        try:
            self.sock.sendall(struct.pack(">L", len(word)) + word)
            self.sock.shutdown(socket.SHUT_WR)
            self._child.wait(STOP_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            pass


def _ssh_command(info):
    there = shlex.join([info["sawlog"], "forward", "--quiet", "--input", "python=stdin:",
                        "--to", info["url"], "--host", socket.gethostname()])
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=10"]
    if info.get("ssh_config"):
        command += ["-F", info["ssh_config"]]
    # What it says of itself stays there; what ssh says is the program's to see.
    return command + [info.get("ssh_host") or info["server_host"],
                      f"echo {ARRIVED}; exec {there} 2>>{shlex.quote(info['data'] + '/ssh.err')}"]


def _arrived(child):
    said, end = b"", time.monotonic() + SSH_SECONDS
    while ARRIVED.encode() not in said:
        if not select.select([child.stdout], [], [], max(0, end - time.monotonic()))[0]:
            return False
        got = child.stdout.read(4096)
        if not got:
            return False
        said += got
    return True


def _close_late(handler):
    handler = handler()
    if handler is not None:
        handler.close()


def _forget_all():
    for handler in list(_Handler._all):
        handler.forget()


os.register_at_fork(after_in_child=_forget_all)


@functools.lru_cache(maxsize=1)
def _own_ip():
    """The address by which this host reaches others; nothing is sent to find it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("8.8.8.8", 53))
            return s.getsockname()[0]
    except OSError:
        return "127.0.0.1"


_handlers = {}          # of this process, by where they send
_handlers_lock = threading.Lock()


def _handler_for(info, via):
    if via is None:
        via = "socket" if info["server_host"] == socket.gethostname() else "ssh"
    if via not in ("socket", "ssh"):
        raise ValueError(f"via must be 'socket' or 'ssh', not {via!r}")
    where = (via, info["server_host"], info["port"])
    with _handlers_lock:
        if where not in _handlers:
            _handlers[where] = _SSHHandler(info) if via == "ssh" else _Handler("127.0.0.1", info["port"])
        return _handlers[where]


def _get_logger(info, name=None, via=None):
    logger = logging.getLogger(name or info["name"])
    logger.setLevel(info["logging_level"])
    handler = _handler_for(info, via)
    if handler not in logger.handlers:
        logger.addHandler(handler)
    return logger


def _let_go(port):
    """Take the handlers that send to the port from all loggers, with what waits in them."""
    with _handlers_lock:
        gone = [_handlers.pop(where) for where in list(_handlers) if where[2] == port]
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for handler in gone:
        for logger in loggers:
            if isinstance(logger, logging.Logger):
                logger.removeHandler(handler)
        handler.close()
    return sum(handler.dropped + len(handler._backlog) for handler in gone)


class _on_both:
    """NwLogger.get_logger(info, name) and nwlogger.get_logger(name=name)."""

    def __init__(self, function):
        self.function = function
        functools.update_wrapper(self, function)

    def __get__(self, instance, owner):
        return functools.partial(self.function, instance)


# The collector.

class NwLogger:
    """A collector for this program, its processes, and those of other hosts.

    name           of the logger that start() returns, and of its file
    host           localhost: other hosts come through ssh
    port           for SocketHandlers; None takes a free one
    logging_level  of the loggers
    handlers       further logging handlers for the loggers of this process
    level_formats  {level number or "default": format}, as logging.Formatter has them
    datefmt        of strftime, with %f for microseconds
    console        write the lines of all processes to standard output as well
    logdir         folder of the files; default: the system's folder for temporary files
    key            attribute of a record that names its file: a record A.B.C is in the files A, A.B
                   and A.B.C
    separator      of the parts of the key
    consolidate    name of one more file, with all records
    file_mode      'a', or 'w' to begin with new files
    file_prefix, file_suffix   parts of the names: PREFIX.NAME.SUFFIX.log
    maxBytes, when, interval, atTime, utc, backupCount   rotation, as RotatingFileHandler and
                   TimedRotatingFileHandler have it: by size or time, whichever is first
    encoding, delay   taken and without effect: files are UTF-8 and made when there is a record
    ssh_host, ssh_config   by which name, and with which file of ssh, clients on other hosts come
    """

    def __init__(self, name, host="localhost", port=None, logging_level=logging.INFO, handlers=(),
                 level_formats=None, datefmt=None, console=False, logdir=None, key="name",
                 separator=".", consolidate="", file_mode="a", file_prefix="", file_suffix="",
                 maxBytes=0, backupCount=0, encoding=None, delay=False, when="h", interval=1,
                 utc=False, atTime=None, ssh_host=None, ssh_config=None):
        if host not in ("localhost", "127.0.0.1"):
            raise ValueError(f"host is {host!r}, but pickles are taken from this host alone: "
                             "programs elsewhere reach it through ssh")
        if file_mode not in ("a", "w"):
            raise ValueError(f"file_mode is {file_mode!r}: it must be 'a' or 'w'")
        self.name, self.host, self.port = name, host, port
        self.logging_level, self.handlers = logging_level, list(handlers)
        self.level_formats = {**DEFAULT_FORMATS, **level_formats} if level_formats else DEFAULT_FORMATS
        if level_formats and logging.DEBUG not in level_formats:
            # Formats of one's own are for all levels that they do not name.
            self.level_formats = dict(level_formats)
        self.datefmt = datefmt or DEFAULT_DATEFMT
        self.console = console
        self.logdir = Path(logdir or tempfile.gettempdir()).absolute()
        self.handler_kwargs = {
            "key": key, "separator": separator, "consolidate": consolidate, "file_mode": file_mode,
            "file_prefix": file_prefix, "file_suffix": file_suffix, "maxBytes": maxBytes,
            "backupCount": backupCount, "when": when, "interval": interval, "utc": utc,
            "atTime": str(atTime) if atTime else None}
        _rotation(self.handler_kwargs)  # what is wrong is told here, and not by start()
        self.ssh_host, self.ssh_config = ssh_host, ssh_config
        self.data = self.logdir / ".sawlog" / (re.sub(r"[^\w.-]", "_", name) or "_")
        self.sawlog, self.url = None, None
        self._child, self._copier = None, None

    # -- what a client needs

    def logger_info(self):
        """For get_logger in another process, here or on another host; it can be pickled."""
        if self._child is None:
            raise NwLoggerError("start() comes before logger_info()")
        return {"name": self.name, "logging_level": self.logging_level,
                "level_formats": self.level_formats, "datefmt": self.datefmt,
                "handler_kwargs": self.handler_kwargs, "server_host": socket.gethostname(),
                "host": self.host, "port": self.port, "url": self.url, "sawlog": self.sawlog,
                "data": str(self.data), "ssh_host": self.ssh_host, "ssh_config": self.ssh_config}

    @_on_both
    def get_logger(self, logger_info=None, name=None, via=None):
        """A logger whose records go to the collector.

        As NwLogger.get_logger(info, name=…) in any process, as nwlogger.get_logger(name=…) in the
        one that started it.  via: "socket" or "ssh"; by default ssh on other hosts.
        """
        if isinstance(logger_info, str):
            logger_info, name = None, logger_info
        if logger_info is None and self is None:
            raise TypeError("get_logger needs the logger_info() of a started NwLogger")
        logger = _get_logger(logger_info or self.logger_info(), name, via)
        if self is not None:
            for handler in self.handlers:
                if not any(handler in up.handlers for up in _up(logger)):
                    logger.addHandler(handler)
        return logger

    # -- its life

    def start(self, name=None):
        """Start the collector, and return the logger `name`, by default that of the constructor."""
        if self._child is not None:
            return self.get_logger(name=name)
        self.sawlog = _find_sawlog()
        self.data.mkdir(parents=True, exist_ok=True)
        if self.handler_kwargs["file_mode"] == "w":
            self._remove_files()
        _end_orphan(self.data)
        tries = 1 if self.port else 5
        for left in reversed(range(tries)):
            try:
                self._start_child()
                break
            except _PortTaken:
                if left == 0:
                    raise
        atexit.register(self.stop)
        return self.get_logger(name=name)

    def stop(self, timeout=STOP_SECONDS):
        """Store and write what has been received, and end, in any case within `timeout` seconds.

        Processes that log should have ended by then.  True when nothing was left behind.
        """
        child, self._child = self._child, None
        if child is None:
            return True
        atexit.unregister(self.stop)
        lost = _let_go(self.port)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            code = None
        self._copier.join(1)
        (self.data / "running").unlink(missing_ok=True)
        return code == 0 and lost == 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def __getstate__(self):
        raise TypeError("an NwLogger stays in its process: give others its logger_info()")

    # -- beneath

    def _start_child(self):
        port = self.port or _free_port()
        config, errors = self.data / "sawlog.yaml", self.data / "sawlog.err"
        # JSON is YAML; a dollar would begin a variable.
        config.write_text(json.dumps(self._config(port), indent=1).replace("$", "$$"))
        # Settings and a supervisor of the program are not meant for what is beneath it.
        env = {k: v for k, v in os.environ.items() if not k.startswith("SAWLOG_") and k != "NOTIFY_SOCKET"}
        with open(errors, "wb") as err:
            child = subprocess.Popen(
                [self.sawlog, "serve", "-c", str(config)], stdin=subprocess.DEVNULL, stderr=err,
                stdout=subprocess.PIPE, bufsize=0, env=env,
                # An interrupt of the terminal is for the program, which then stops this one.
                start_new_session=True)
        try:
            greeting, rest = _read_greeting(child, errors)
        except BaseException:
            child.kill()
            child.wait()
            child.stdout.close()
            raise
        (self.data / "running").write_text(f"{child.pid} {os.getpid()}\n")
        self._child, self.port, self.url = child, port, re.search(r"http://[\d.:]+", greeting).group()
        self._copier = threading.Thread(target=_copy, args=(child.stdout, rest, self.console), daemon=True)
        self._copier.start()

    def _file_name(self, key):
        kw = self.handler_kwargs
        return ".".join(filter(None, [kw["file_prefix"], key, kw["file_suffix"], "log"]))

    def _remove_files(self):
        names = [self._file_name(key) for key in (self.name, self.handler_kwargs["consolidate"]) if key]
        names += [p.name for p in self.logdir.glob(self._file_name(f"{self.name}.*"))]
        for name in names:
            (self.logdir / name).unlink(missing_ok=True)

    def _lines(self):
        formats = {(level if isinstance(level, str) else logging.getLevelName(level)): text
                   for level, text in self.level_formats.items()}
        default = formats.pop("default", "%(message)s")
        return {"format": default, "level_formats": formats, "datefmt": self.datefmt,
                "utc": bool(self.handler_kwargs["utc"]), "match": '{input="python"}', "start": "begin"}

    def _config(self, port):
        kw = self.handler_kwargs
        key = "logger" if kw["key"] == "name" else kw["key"]
        files = {"name": "files", "root": str(self.logdir), "hierarchy": key, "separator": kw["separator"],
                 "path": str(self.logdir).replace("%", "%%") + "/" + self._file_name(f"%({key})s"),
                 "mode": "0644", "dir_mode": "0755", "rotate": _rotation(kw), **self._lines()}
        if kw["consolidate"]:
            files["consolidate"] = kw["consolidate"]
        outputs = [{"file": files}]
        if self.console:
            outputs.append({"stdout": {"name": "console", **self._lines()}})
        return {"data": str(self.data / "store"), "http": {"listen": ["127.0.0.1:0"]},
                "inputs": [{"python": {"listen": [f"tcp://127.0.0.1:{port}"]}}], "outputs": outputs}


MpLogger = NwLogger
SSHLogger = NwLogger


def _up(logger):
    while logger is not None:
        yield logger
        logger = logger.parent if logger.propagate else None


def _find_sawlog():
    given = os.environ.get("SAWLOG")
    found = shutil.which(given or "sawlog")
    if found is None:
        raise NwLoggerError(
            f"SAWLOG is {given!r}, which is no program" if given else
            "the program sawlog is not on PATH: install it, or set SAWLOG to where it is")
    return str(Path(found).absolute())


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class _PortTaken(NwLoggerError):
    """Another program was faster than sawlog."""


def _read_greeting(child, errors):
    """What it says when it runs, and what came behind that."""
    said, end = b"", time.monotonic() + START_SECONDS
    while said.count(b"\n") < 3:
        if not select.select([child.stdout], [], [], max(0, end - time.monotonic()))[0]:
            raise NwLoggerError(f"sawlog was not ready in {START_SECONDS} s; see {errors}")
        got = child.stdout.read(4096)
        if not got:
            child.wait(5)
            raise NwLoggerError("sawlog ended at its start:\n" + _last_lines(errors))
        said += got
    greeting, rest = said.decode(errors="replace"), said.split(b"\n", 3)[3]
    if "1 inputs running" not in greeting:
        raise _PortTaken("sawlog takes no records:\n" + _last_lines(errors))
    return greeting, rest


def _last_lines(file):
    return "\n".join(file.read_text(errors="replace").splitlines()[-5:])


def _copy(source, first, show):
    """What the output `console` says goes to the standard output."""
    with source:
        data = first
        while True:
            while show and data:
                try:
                    data = data[os.write(1, data):]
                except OSError:
                    show = False
            data = source.read(65536)
            if not data:
                return


def _end_orphan(data):
    """A program that was killed could not stop its collector: its successor does."""
    running = data / "running"
    try:
        pid, owner = map(int, running.read_text().split())
        args = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if str(data / "sawlog.yaml").encode() not in args or Path(f"/proc/{owner}").exists():
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)


_EVERY = {"h": "hour", "d": "day", "midnight": "midnight", **{f"w{i}": f"w{i}" for i in range(7)}}
_KEEP_ALL = 999


def _rotation(kw):
    """As RotatingFileHandler and TimedRotatingFileHandler have it; files are then called NAME.log.1 and so on."""
    when = str(kw["when"]).lower()
    if when not in _EVERY or int(kw["interval"]) != 1:
        raise ValueError(f"when={kw['when']!r}, interval={kw['interval']!r}: files are rotated each hour ('h'), "
                         "day ('d', 'midnight') or week ('w0' to 'w6')")
    rotate = {"every": _EVERY[when], "keep": int(kw["backupCount"]) or _KEEP_ALL}
    # Without backups RotatingFileHandler never rotates by size.
    if kw["maxBytes"] and kw["backupCount"]:
        rotate["size"] = int(kw["maxBytes"])
    if kw["atTime"]:
        rotate["at"] = kw["atTime"][:5]
    return rotate
