# SPDX-License-Identifier: Apache-2.0
"""The example isolator of the documentation, installed as its readers would, in a real agent."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integration.processes import command, environment
from integration.scene import Scene

STARTED = ("TASK_STARTING", "TASK_RUNNING")
NAME = "example/rlimits"
DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = DOCS / "examples" / "isolator_rlimits_example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for ``PYTHONPATH`` with the example in it."""
    folder = tmp_path_factory.mktemp("example")
    # pip builds where the sources are
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check", "--root-user-action=ignore"),
            *("--target", str(target), str(source)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(target)


def modules(**parameters: str) -> str:
    listed = [{"key": key, "value": value} for key, value in parameters.items()]
    return json.dumps({"libraries": [{"modules": [{"name": NAME, "parameters": listed}]}]})


def test_the_examples_own_tests_pass(installed: str) -> None:
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        program,
        cwd=os.path.join(os.path.dirname(installed), "source"),
        env=environment(PYTHONPATH=installed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_help_lists_it(installed: str) -> None:
    program = command("agent", "--help")
    env = environment(PYTHONPATH=installed)
    text = subprocess.run(program, env=env, capture_output=True, text=True, check=True).stdout
    assert NAME in text.split("--isolation=")[1].split("--", 1)[0]


def test_a_task_feels_it(installed: str, scene: Scene) -> None:
    master = scene.master()
    scratch = scene.path("all-scratch")
    agent = scene.agent(
        master,
        variables={"PYTHONPATH": installed},
        isolation=f"posix/cpu,posix/mem,{NAME}",
        modules=modules(max_open_files="123", scratch_dir=scratch),
    )
    with open(agent.log, encoding="utf-8") as file:
        assert f"Isolator '{NAME}' is mesos-rlimits-example 1.0.0" in file.read()
    assert NAME in agent.state()["flags"]["isolation"]
    code = 'ulimit -n; ulimit -Hn; touch "$SCRATCH/f" && echo "$SCRATCH"'
    done = scene.execute(master, "--name=felt", f"--command={code}")
    done.check(*STARTED, "TASK_FINISHED")
    container = os.path.basename(agent.sandbox("felt"))
    assert agent.stdout("felt").split()[-3:] == ["123", "123", f"{scratch}/{container}"]
    assert os.listdir(scratch) == []


@pytest.mark.root
def test_it_is_bound_into_the_sandbox(installed: str, scene: Scene) -> None:
    master = scene.master()
    scratch = scene.path("all-scratch")
    agent = scene.agent(
        master,
        variables={"PYTHONPATH": installed},
        isolation=f"filesystem/linux,cgroups/cpu,cgroups/mem,{NAME}",
        launcher="linux",
        modules=modules(scratch_dir=scratch),
    )
    code = f"echo x > $SCRATCH/f && cat scratch/f {scratch}/*/f"
    done = scene.execute(master, "--name=bound", f"--command={code}")
    done.check(*STARTED, "TASK_FINISHED")
    assert agent.stdout("bound").split()[-2:] == ["x", "x"]
    assert os.listdir(scratch) == []
    assert os.listdir(os.path.join(agent.sandbox("bound"), "scratch")) == []


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"max_open_files": "many"}, "'max_open_files' must be a positive number, not 'many'"),
        ({"typo": "1"}, "unknown parameters: typo"),
    ],
)
def test_its_refusal_ends_the_start(
    installed: str, scene: Scene, parameters: dict[str, str], text: str
) -> None:
    agent = scene.prepare_agent(
        "127.0.0.1:1",
        variables={"PYTHONPATH": installed},
        isolation=NAME,
        launcher="posix",
        modules=modules(**parameters),
    ).spawn()
    assert agent.wait() == 1
    expected = f"Could not create MesosContainerizer: Failed to create isolator '{NAME}': {text}"
    assert expected in agent.tail()


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for ``PYTHONPATH`` with the examples of the page on plug-ins."""
    folder = tmp_path_factory.mktemp("documented")
    page = (DOCS / "plugins.md").read_text()
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)):
        (folder / f"documented_{number}.py").write_text(code)
    info = folder / "documented-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: documented\nVersion: 1.0\n")
    points = {
        "isolators": "doc/proxy = documented_0:ProxyIsolator",
        "hooks": "rack = documented_1:RackHook",
        "secret_resolvers": "folder = documented_2:DirectoryResolver",
    }
    (info / "entry_points.txt").write_text(
        "".join(f"[mesos_compat.{group}]\n{point}\n" for group, point in points.items())
    )
    return str(folder)


def test_isolator_hook_and_resolver_together(documented: str, scene: Scene) -> None:
    secrets = scene.path("secrets")
    os.mkdir(secrets)
    with open(os.path.join(secrets, "key"), "wb") as file:
        file.write(b"hush")
    listed = [
        {"name": "doc/proxy", "parameters": [{"key": "proxy", "value": "http://p:1"}]},
        {"name": "folder", "parameters": [{"key": "folder", "value": secrets}]},
    ]
    master = scene.master()
    agent = scene.agent(
        master,
        variables={"PYTHONPATH": documented},
        launcher="posix",
        isolation="posix/cpu,posix/mem,doc/proxy",
        hooks="rack",
        attributes="rack:r7",
        secret_resolver="folder",
        modules=json.dumps({"libraries": [{"modules": listed}]}),
    )

    def task(name: str, key: str, **more: str) -> str:
        reference = {"type": "REFERENCE", "reference": {"name": key}}
        variable = {"name": "KEY", "type": "SECRET", "secret": reference}
        resources = [
            {"name": kind, "type": "SCALAR", "scalar": {"value": amount}}
            for kind, amount in (("cpus", 0.5), ("mem", 64))
        ]
        command = {
            "value": "echo $http_proxy $KEY $EXAMPLE_HOOK",
            "environment": {
                "variables": [variable, *({"name": n, "value": v} for n, v in more.items())]
            },
        }
        return json.dumps(
            {
                "name": name,
                "task_id": {"value": name},
                "agent_id": {"value": ""},
                "resources": resources,
                "command": command,
            }
        )

    scene.execute(master, f"--task={task('good', 'key')}").check(*STARTED, "TASK_FINISHED")
    assert agent.stdout("good").split()[-4:] == ["http://p:1", "hush", "was", "here"]
    own = task("own", "key", EXAMPLE_HOOK="the task's")
    scene.execute(master, f"--task={own}").check(*STARTED, "TASK_FINISHED")
    assert agent.stdout("own").split()[-3:] == ["hush", "the", "task's"]
    state = json.dumps(agent.state())
    assert '"key": "rack", "value": "r7"' in state
    failed = scene.execute(master, f"--task={task('bad', 'none')}")
    assert failed.states == ["TASK_FAILED"]
    assert "Collect failed: There is no such secret" in failed.stdout
    assert "hush" not in agent.tail(10000)
