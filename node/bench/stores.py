"""Stores on loopback, each from an empty folder: what the benchmarks in this folder have in common."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

START_SECONDS_MAX = 60
CLIENT_CONNECTIONS = 8


class Servers:
    """Processes on loopback with their data in a folder of their own; ended and emptied at the end of the block."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=self.folder)
        self.processes.append(process)
        return process

    def kill(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()
        self.processes = []

    def wait_for(self, what, ready):
        until = time.monotonic() + START_SECONDS_MAX
        while not ready():
            for process in self.processes:
                if process.poll() is not None:
                    sys.exit(f"{what}: a process ended with {process.returncode}; its log is in {self.folder}")
            if time.monotonic() > until:
                sys.exit(f"{what} is not up after {START_SECONDS_MAX} s; logs are in {self.folder}")
            time.sleep(0.05)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Reckon:
    """A store of one or three nodes, and `reckon bench` against it."""

    def __init__(self, options, nodes):
        self.options = options
        self.servers = Servers(options.data / "reckon")
        self.ports = [17430 + 10 * node for node in range(nodes)]
        self.leader = None
        self.nodes = {}

    def __enter__(self):
        self.servers.__enter__()
        self.start()
        return self

    def start(self):
        for number in range(len(self.ports)):
            self.start_node(number)
        self.wait_until_ready()

    def start_node(self, number):
        peers = json.dumps([f"127.0.0.1:{port + 1}" for port in self.ports])
        port = self.ports[number]
        settings = {
            "node.name": f"n{number}",
            "node.data_dir": self.servers.folder / f"n{number}",
            "listen.client": f"127.0.0.1:{port}",
            "listen.peer": f"127.0.0.1:{port + 1}",
            "listen.http": f"127.0.0.1:{port + 2}",
            "advertise.client": f"127.0.0.1:{port}",
            "advertise.peer": f"127.0.0.1:{port + 1}",
            "formation.mode": "expect",
            "formation.expect": len(self.ports),
            "discovery.mode": "static",
            "discovery.static": peers,
        }
        settings = [f"{name}={value}" for name, value in settings.items()] + self.options.set
        settings = [part for setting in settings for part in ("--set", setting)]
        process = self.servers.start(f"n{number}", self.options.programs / "reckon-node", "run", *settings)
        self.nodes[number] = process

    def wait_until_ready(self):
        ready = lambda: all(answers(f"http://127.0.0.1:{port + 2}/readyz") for port in self.ports)
        self.servers.wait_for("reckon", ready)
        self.servers.wait_for("reckon's leader", self.find_leader)

    def kill_leader(self):
        """Kills the node that leads, and gives its number."""
        number = self.ports.index(self.leader)
        process = self.nodes.pop(number)
        process.kill()
        process.wait()
        self.servers.processes.remove(process)
        return number

    def wait_for_leader(self):
        """When one of the nodes that run said first that it leads, by the monotonic clock."""
        while True:
            for number in self.nodes:
                status = self.cli(self.ports[number], "status")["endpoints"][0]
                if status.get("role") == "leader":
                    return time.monotonic()

    def restart(self):
        """Kills every node, and starts them again over what they have; returns when they serve."""
        self.servers.kill()
        self.start()

    def __exit__(self, *exception):
        self.servers.__exit__(*exception)

    def find_leader(self):
        for port in self.ports:
            status = self.cli(port, "status")["endpoints"][0]
            if status.get("role") == "leader" and status.get("activated"):
                self.leader = port
        return self.leader is not None

    def cli(self, port, *arguments):
        program = self.options.programs / "reckon"
        command = [program, "--endpoint", f"127.0.0.1:{port}", "--output", "json", *arguments]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
        return json.loads(done.stdout)

    def bench(self, *arguments, seconds=None):
        seconds = [] if "--operations" in arguments or "--events" in arguments else ["--seconds", seconds or self.options.seconds]
        return self.cli(self.leader, "bench", *arguments, *seconds)

    def metric(self, name):
        """The sum over all labels of a metric of the leader."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.leader + 2}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))

    def refusals(self):
        """How many requests the leader has refused, for whatever reason."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.leader + 2}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(line.split()[-1]) for line in lines if line.startswith("reckon_refusals_total{"))

    def appends(self, clients, *arguments):
        return self.bench("append", "--clients", clients, "--tag-values", 1000, *arguments)


class Peer:
    """Another store, and the tool that puts load on it."""

    def __init__(self, options, name):
        self.options = options
        self.name = name
        self.bin = options.peers / "bin"
        self.servers = Servers(options.data / name)

    def is_there(self):
        programs = {
            "etcd3": ["etcd", "peerbench"],
            "umadb": ["umadb", "peerbench"],
            "tephra": ["tephra-server", "tephraload"],
        }
        missing = [program for program in programs[self.name] if not os.access(self.bin / program, os.X_OK)]
        if missing:
            print(f"# {self.name} is left out: no {', '.join(missing)} in {self.bin}", flush=True)
        return not missing

    def __enter__(self):
        self.servers.__enter__()
        getattr(self, f"start_{self.name}")()
        return self

    def __exit__(self, *exception):
        self.servers.__exit__(*exception)

    def start_etcd3(self):
        members = range(3)
        url = lambda port: f"http://127.0.0.1:{port}"
        cluster = ",".join(f"e{member}={url(12380 + 10000 * member)}" for member in members)
        for member in members:
            client, peer = 12379 + 10000 * member, 12380 + 10000 * member
            self.servers.start(
                f"e{member}", self.bin / "etcd", "--name", f"e{member}", "--data-dir", f"e{member}",
                "--listen-client-urls", url(client), "--advertise-client-urls", url(client),
                "--listen-peer-urls", url(peer), "--initial-advertise-peer-urls", url(peer),
                "--initial-cluster", cluster, "--initial-cluster-state", "new",
                "--quota-backend-bytes", 8 << 30,
            )
        self.url = ",".join(url(12379 + 10000 * member) for member in members)
        healthy = lambda: all(answers(f"{url(12379 + 10000 * member)}/health") for member in members)
        self.servers.wait_for("etcd", healthy)

    def start_umadb(self):
        database = self.servers.folder / "uma.db"
        self.servers.start("umadb", self.bin / "umadb", "--listen", "127.0.0.1:50051", "--db-path", database)
        self.url = "http://127.0.0.1:50051"
        self.servers.wait_for("umadb", lambda: listens(50051))

    def start_tephra(self):
        data = self.servers.folder / "data"
        self.servers.start("tephra", self.bin / "tephra-server", "-b", "127.0.0.1:9000", "-d", data, "-l", "warn")
        self.url = "127.0.0.1:9000"
        self.servers.wait_for("tephra", lambda: listens(9000))

    def appends(self, clients, batch=1):
        """Operations a second (events, when several go into one), and the median in microseconds."""
        seconds = self.options.seconds
        if self.name == "tephra":
            command = [self.bin / "tephraload", self.url, clients, batch, seconds]
        else:
            target = {"etcd3": "etcd", "umadb": "uma"}[self.name]
            command = [
                self.bin / "peerbench", "--target", target, "--url", self.url, "--clients", clients,
                "--conns", min(CLIENT_CONNECTIONS, clients), "--batch", batch, "--secs", seconds,
            ]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        rate = re.search(r"ops/s=(\d+)", done.stdout)
        median = re.search(r"p50=(\d+)us", done.stdout)
        if done.returncode != 0 or not rate or not median:
            sys.exit(f"{self.name}: {done.stdout}{done.stderr}")
        return int(rate.group(1)), int(median.group(1))


def fdatasync(folder):
    """The median of a 4 KiB write and its sync, in microseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fdatasync"
    took = []
    with open(path, "wb", buffering=0) as file:
        file.write(bytes(4096 * 1000))
        os.fdatasync(file.fileno())
        for number in range(1000):
            started = time.perf_counter()
            os.pwrite(file.fileno(), bytes(4096), 4096 * number)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    path.unlink()
    return statistics.median(took) * 1e6


def add_arguments(parser, profile="release"):
    """Where programs and data are."""
    programs = pathlib.Path(__file__).resolve().parent.parent.parent / "target" / profile
    parser.add_argument("--programs", type=pathlib.Path, default=programs)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/tmp/reckon-bench"), help="where servers store")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="configure Reckon's nodes")


def check(options):
    """Makes paths whole, and ends the program when Reckon's own programs are missing."""
    options.programs = options.programs.resolve()
    options.data = options.data.resolve()
    for program in ("reckon", "reckon-node"):
        if not os.access(options.programs / program, os.X_OK):
            sys.exit(f"no {program} in {options.programs}: cargo build --release -p reckon-node -p reckon-cli")
