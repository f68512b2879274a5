"""The files in `deploy/`: valid by their schemas, consistent, and the Slurm array run as Slurm would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fieldmark import read_manifest, write_manifest
from fieldmark.data.shards import read_embeddings, read_info
from fieldmark.types import Medium, Split

DEPLOY = Path(__file__).parents[1] / "deploy"
MANIFESTS = [
    (path.name, number, document)
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if path.name != "milvus-values.yaml"
    for number, document in enumerate(yaml.safe_load_all(path.read_text(encoding="utf-8")))
]
VERSION = "1.34"
"""Of Kubernetes, whose schemas must take the manifests."""


@pytest.mark.parametrize(("name", "number", "document"), MANIFESTS, ids=lambda value: str(value)[:20])
def test_a_manifest_is_valid(name, number, document):
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(document, VERSION, strict=True)
    wrong = json.loads(json.dumps(document))
    wrong["spec"]["surprise"] = 1
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, VERSION, strict=True)


def test_compose_is_valid(tmp_path):
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    content = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    wrong = json.loads(json.dumps(content))
    wrong["services"]["milvus"]["imag"] = "x"
    for number, (each, expected) in enumerate([(content, 0), (wrong, 1)]):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(each))
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == expected, done.stdout + done.stderr


def find(kind):
    return {document["metadata"]["name"]: document for _, _, document in MANIFESTS if document["kind"] == kind}


def test_manifests_name_what_there_is():
    claims = set(find("PersistentVolumeClaim"))
    pods = {
        name: document["spec"]["template"] for kind in ("Deployment", "Job") for name, document in find(kind).items()
    }
    for name, pod in pods.items():
        spec = pod["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        used = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert used == set(volumes), name
        assert {
            v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v
        } <= claims
    for service in find("Service").values():
        wanted = service["spec"]["selector"].items()
        [pod] = [pod for pod in pods.values() if pod["metadata"]["labels"].items() >= wanted]
        ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
        assert {port.get("targetPort", port["name"]) for port in service["spec"]["ports"]} <= ports
    [server] = [pod for name, pod in pods.items() if name == "fieldmark-server"]
    [container] = server["spec"]["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_array_completes_a_folder(toy_items, toy_run, toy_runtime, tmp_path):
    items = [item for item in toy_items if item.split is Split.TEST and item.medium is Medium.TEXT]
    write_manifest(items, tmp_path / "m.csv")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "FIELDMARK_CACHE": str(tmp_path / "cache"),
        "FIELDMARK_DEVICE": "cpu",
        "SLURM_ARRAY_TASK_COUNT": "3",
        "SLURM_CPUS_PER_TASK": "1",
    }
    arguments = [str(tmp_path / "m.csv"), str(toy_run), str(tmp_path / "out")]
    for task in ("2", "1", "1", "3"):
        done = subprocess.run(  # noqa: S603 - our own script
            ["bash", str(DEPLOY / "embed.sbatch"), *arguments],  # noqa: S607
            env={**environment, "SLURM_ARRAY_TASK_ID": task},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert read_info(tmp_path / "out").item_count == len(items)
    found, _ = read_embeddings(tmp_path / "out")
    assert sorted(item.item_id for item in found.items) == sorted(
        item.item_id for item in read_manifest(tmp_path / "m.csv")
    )
