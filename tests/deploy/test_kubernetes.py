"""The manifests: rendered by kubectl, held to the schemas of Kubernetes, and run by Podman."""

import re
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import Render
from containers import Docker, need, podman, wait_for
from servers import free_port
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from app.cors import Policy

Objects = dict[tuple[str, str], dict[str, Any]]

NAMESPACE = "kubernetes.io/metadata.name"  # a label that the cluster sets
ORIGIN = "https://app.example.com"
IMAGE = "registry.example.com/api:1.0.0"


@pytest.fixture(scope="session")
def kustomize() -> Callable[[Path], str]:
    """Render a folder as `kubectl apply --kustomize` does."""
    need("kubectl")
    return lambda folder: (
        subprocess.run(
            ["kubectl", "kustomize", folder], check=True, capture_output=True, text=True
        ).stdout
    )


def objects(text: str) -> Objects:
    """Return the objects by kind and name, without the hash that Kustomize appends."""
    documents = list(yaml.safe_load_all(text))
    found = {
        (it["kind"], re.sub("-[a-z0-9]{10}$", "", it["metadata"]["name"])): it for it in documents
    }
    assert len(found) == len(documents)
    return found


@pytest.fixture(params=["smallest", "full"])
def project(request: pytest.FixtureRequest, deployed: dict[str, Path]) -> Path:
    return deployed[request.param]


@pytest.fixture
def example(project: Path, kustomize: Callable[[Path], str]) -> Objects:
    return objects(kustomize(project / "kubernetes/example"))


@pytest.mark.parametrize("folder", ["base", "example"])
def test_manifests_follow_the_schemas(
    project: Path, kustomize: Callable[[Path], str], folder: str
) -> None:
    for manifest in yaml.safe_load_all(kustomize(project / "kubernetes" / folder)):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def pods(example: Objects) -> list[dict[str, Any]]:
    return [
        it["spec"]["template"] for it in example.values() if it["kind"] in ("Deployment", "Job")
    ]


def test_pods_are_restricted(example: Objects) -> None:
    """As Kubernetes' Pod Security Standard of that name wants it."""
    for pod in pods(example):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert container["image"] == IMAGE


def test_objects_select_the_pods_that_serve(example: Objects) -> None:
    server, *others = (pod["metadata"]["labels"] for pod in pods(example))
    deployment = example["Deployment", "api"]["spec"]
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    selectors = [
        deployment["selector"]["matchLabels"],
        example["Service", "api"]["spec"]["selector"],
        example["PodDisruptionBudget", "api"]["spec"]["selector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in spread),
    ]
    for selector in selectors:
        assert selector.items() <= server.items()
        assert not any(selector.items() <= other.items() for other in others)
    for (kind, _), policy in example.items():
        if kind == "NetworkPolicy":
            for labels in (server, *others):
                assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    scaled = example["HorizontalPodAutoscaler", "api"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", "api")
    assert "replicas" not in deployment, "each roll-out would undo the scaling"


def test_requests_find_their_way(example: Objects) -> None:
    (path,) = example["Ingress", "api"]["spec"]["rules"][0]["http"]["paths"]
    (port,) = example["Service", "api"]["spec"]["ports"]
    assert path["backend"]["service"] == {"name": "api", "port": {"name": port["name"]}}
    (container,) = example["Deployment", "api"]["spec"]["template"]["spec"]["containers"]
    (served,) = container["ports"]
    assert port["targetPort"] == served["name"]
    (allowed,) = example["NetworkPolicy", "api"]["spec"]["ingress"]
    assert allowed == {
        "from": [{"namespaceSelector": {"matchLabels": {NAMESPACE: "ingress-nginx"}}}],
        "ports": [{"port": served["containerPort"]}],
    }


def test_only_the_database_may_be_outside_the_cluster(example: Objects) -> None:
    for (kind, _), policy in example.items():
        for rule in policy["spec"].get("egress", []) if kind == "NetworkPolicy" else []:
            ports = {port["port"] for port in rule["ports"]}
            assert ports == {5432} or (ports == {53} and rule["to"][0] == {"namespaceSelector": {}})


def test_settings_of_the_example_are_valid(example: Objects) -> None:
    """Its policy is one, and the probes call by a host that it trusts."""
    settings = example["ConfigMap", "api"]["data"]
    policy = Policy.from_config(
        {
            "CORS_ORIGINS": settings["FLASK_CORS_ORIGINS"],
            "CORS_METHODS": "GET",
            "CORS_SUPPORTS_CREDENTIALS": True,
            "CORS_MAX_AGE": 0,
        }
    )
    assert ORIGIN in policy.origins
    (container,) = example["Deployment", "api"]["spec"]["template"]["spec"]["containers"]
    trusted = settings["FLASK_TRUSTED_HOSTS"].split(", ")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        (header,) = container[probe]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host" and header["value"] in trusted
    assert example["Ingress", "api"]["spec"]["rules"][0]["host"] in trusted
    (name, optional) = (ref.get("configMapRef") or ref["secretRef"] for ref in container["envFrom"])
    assert name["name"] == example["ConfigMap", "api"]["metadata"]["name"]
    assert optional == {"name": "api", "optional": True}


def test_stop_is_given_time(project: Path, example: Objects) -> None:
    graceful = runpy.run_path(str(project / "gunicorn.conf.py"))["graceful_timeout"]
    deployment = example["Deployment", "api"]["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    spec = deployment["template"]["spec"]
    _, pause = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert spec["terminationGracePeriodSeconds"] > int(pause) + graceful
    compose = yaml.safe_load((project / "compose.yaml").read_text())
    assert int(compose["services"]["api"]["stop_grace_period"].rstrip("s")) > graceful


def test_only_the_database_needs_a_migration(
    deployed: dict[str, Path], kustomize: Callable[[Path], str]
) -> None:
    found = {
        name: objects(kustomize(project / "kubernetes/example")).keys()
        for name, project in deployed.items()
    }
    added = {("Job", "migrate"), ("NetworkPolicy", "api-database")}
    assert found["full"] - found["smallest"] == added
    assert not any(kind == "Secret" for kind, _ in found["full"]), "by reference only"


def test_files_for_deployment_have_no_answers(
    project: Path, deployed: dict[str, Path], render: Render
) -> None:
    """So that no later answer changes them; and whoever is before the API adds no CORS header."""
    extras = ["container", "kubernetes", *(["database"] if project == deployed["full"] else [])]
    other = render(
        project_name="Bookshop API",
        frontend_origins="https://shop.example",
        allowed_methods=["GET"],
        allow_credentials=True,
        exposed_headers="any-header",
        extras=extras,
    )
    paths = [path for path in other.rglob("*") if path.is_file()]
    names = ("Dockerfile", ".dockerignore", "compose.yaml", "compose.override.yaml")
    found = [path for path in paths if path.name in names or "kubernetes" in path.parts]
    assert len(found) >= 9
    for path in found:
        text = path.read_text()
        assert text == (project / path.relative_to(other)).read_text()
        for line in text.splitlines():
            told = re.sub(r"FLASK_CORS_\w+", "", line.partition("#")[0])
            assert not re.search("(?i)cors|access-control|annotations", told), (path, line)


def test_pod_serves_the_policy_of_its_config_map(
    docker: Docker, deployed: dict[str, Path], kustomize: Callable[[Path], str], tmp_path: Path
) -> None:
    """The example, but for a port of this machine and a database in the pod's temporary folder."""
    project = deployed["full"]
    with docker.alone():
        docker("build", "--quiet", "--tag", IMAGE, str(project))
    docker("save", "--output", str(tmp_path / "image.tar"), IMAGE)
    port = free_port()
    (project / "kubernetes/played").mkdir()
    (project / "kubernetes/played/kustomization.yaml").write_text(PLAYED.format(port=port))
    (tmp_path / "played.yaml").write_text(kustomize(project / "kubernetes/played"))
    with podman(tmp_path) as pods:
        pods.shell("podman load --input image.tar && podman play kube played.yaml", tmp_path)
        check_pod(pods, objects((tmp_path / "played.yaml").read_text()), port)


PLAYED = """\
resources: [../example]
configMapGenerator:
  - name: api
    namespace: example
    behavior: merge
    literals: ["DATABASE_URL=sqlite:////tmp/app.db"]
patches:
  - target: {{ kind: Deployment }}
    patch: |
      - op: add
        path: /spec/template/spec/containers/0/ports/0/hostPort
        value: {port}
"""


def check_pod(pods: Docker, example: Objects, port: int) -> None:
    (container,) = example["Deployment", "api"]["spec"]["template"]["spec"]["containers"]
    pool = HTTPConnectionPool("127.0.0.1", port, retries=3, timeout=10)

    def probe(name: str) -> int:
        asked = container[name]["httpGet"]
        headers = {header["name"]: header["value"] for header in asked["httpHeaders"]}
        return pool.request("GET", asked["path"], headers=headers).status

    def status(name: str) -> int | None:
        try:
            return probe(name)
        except HTTPError:
            return None

    logs = "podman logs api-pod-0-api 2>&1"
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    # Podman starts a container again whose probe is late, as on a busy machine.
    until = [200, 200, 503]
    wait_for(lambda: [*map(status, probes)] == until, 30, lambda: pods.shell(logs, None))
    pods.shell("podman exec api-pod-0-api flask --app wsgi db upgrade", None)
    assert probe("readinessProbe") == 200
    for origin, allowed in {ORIGIN: ORIGIN, "http://localhost:5173": None}.items():
        headers = {"Host": "api.example.com", "Origin": origin}
        answer = pool.request("GET", "/api/items", headers=headers)
        assert answer.status == 200
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    assert pool.request("GET", "/api/items", headers={"Host": "other.example"}).status == 400
    pods.shell("podman pod stop --time 40 api-pod-0", None)
    state = "podman inspect --format '{{.State.ExitCode}} {{.HostConfig.Memory}}' api-pod-0-api"
    assert pods.shell(state, None).split() == ["0", str(384 << 20)]
