"""Extract on a Ray cluster of several nodes on this machine, kill a node and workers.

    python extract_on_ray.py VIDEOS FOLDER

Prints one JSON object with what was seen. VIDEOS holds a `killer` video: the process that opens
it dies, as if the decoder had crashed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

# before Ray is imported: nothing is reported, and 127.0.0.1 means this machine's loopback
os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
)

import ray
from ray.cluster_utils import Cluster

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.features.cluster import extract_on_cluster
from actionrnn.features.extract import Extraction, extract_to_store
from actionrnn.features.store import FeatureStore

BACKBONE = BackboneConfig(
    name="torchvision/shufflenet_v2_x0_5", weights="none", precision="float32", runtime="torch"
)
FOUR = Sampling(num_frames=4)
DIES = """
import os
import av

whole_open = av.open

def open_or_die(file, *args, **kwargs):
    if "killer" in str(file):
        with __builtins__["open"](os.environ["KILLED"], "a") as note:
            note.write("killed\\n")
        os._exit(9)
    return whole_open(file, *args, **kwargs)

av.open = open_or_die
"""


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def inodes(root: Path) -> dict[str, int]:
    if not (root / "_store.json").exists():
        return {}
    store = FeatureStore.open(root)
    return {key: store.path_of(key).stat().st_ino for key in store.keys()}  # noqa: SIM118


def counts(done: Extraction) -> list[int]:
    return [done.num_extracted, done.num_skipped, len(done.failures)]


def add_node(cluster: Cluster) -> object:
    size = 100 * 2**20
    return cluster.add_node(num_cpus=2, object_store_memory=size, node_ip_address="127.0.0.1")


def main() -> None:
    videos, folder = Path(sys.argv[1]), Path(sys.argv[2])
    stub, killed = folder / "stub", folder / "killed"
    stub.mkdir()
    (stub / "sitecustomize.py").write_text(DIES)
    usable = sorted(
        path for path in videos.rglob("*") if path.is_file() and "killer" not in path.name
    )
    one = extract_to_store(usable, folder / "one", backbone=BACKBONE, sampling=FOUR)
    seen: dict[str, object] = {"one_process": counts(one)}

    head = {"num_cpus": 0, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [add_node(cluster) for _ in range(2)]
    cluster.wait_for_nodes()
    environment = {"PYTHONPATH": str(stub), "KILLED": str(killed), "OMP_WAIT_POLICY": "passive"}
    ray.init(
        cluster.address,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": environment},
    )
    seen["nodes"] = sum(node["Alive"] for node in ray.nodes())

    store = folder / "node_lost"
    at_death: dict[str, int] = {}

    def lose_a_node() -> None:
        while len(inodes(store)) < 8:
            time.sleep(0.02)
        cluster.remove_node(nodes[1], allow_graceful=False)
        at_death.update(inodes(store))

    thread = threading.Thread(target=lose_a_node, daemon=True)
    thread.start()
    done = extract_on_cluster(usable, store, backbone=BACKBONE, sampling=FOUR)
    thread.join(60)
    seen["node_lost"] = counts(done)
    seen["stored_at_death"] = len(at_death)
    seen["nodes_left"] = sum(node["Alive"] for node in ray.nodes())
    after = inodes(store)
    seen["computed_twice"] = sum(after[key] != at_death[key] for key in at_death)
    seen["node_lost_same_bytes"] = content(store) == content(one.store.root)

    add_node(cluster)
    cluster.wait_for_nodes()
    done = extract_on_cluster(
        [*usable, *videos.rglob("killer*")], folder / "killer", backbone=BACKBONE, sampling=FOUR
    )
    seen["killer"] = counts(done)
    seen["attempts"] = len(killed.read_text().splitlines())
    seen["killer_failures"] = [failure.to_json() for failure in done.failures]
    entries = {name: data for name, data in content(folder / "killer").items() if name[0] != "_"}
    wanted = {name: data for name, data in content(folder / "one").items() if name[0] != "_"}
    seen["killer_same_entries"] = entries == wanted
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
