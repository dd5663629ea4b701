# SPDX-License-Identifier: Apache-2.0
"""The agent's flags: all names known, typed values, display, refusals."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest

from mesos_compat.agent import flags as module
from mesos_compat.agent.flag_groups import GROUPS, OWN
from mesos_compat.agent.flag_table import WITHOUT_EFFECT
from mesos_compat.agent.flags import FLAGS, AgentFlags, listen_options, parse_agent_flags, usage
from mesos_compat.base.errors import FlagError

#: Names of upstream's flags, one per line.
NAMES = (Path(__file__).parent.parent / "golden" / "agent" / "flag_names.txt").read_text().split()

#: What GET /flags of a real agent (1.12-dev) showed for flags that were not given.
UPSTREAM_DEFAULTS = {
    "appc_simple_discovery_uri_prefix": "http://",
    "appc_store_dir": "/tmp/mesos/store/appc",
    "authenticate_http_readonly": "false",
    "authenticate_http_readwrite": "false",
    "authenticatee": "crammd5",
    "authentication_backoff_factor": "1secs",
    "authentication_timeout_max": "1mins",
    "authentication_timeout_min": "5secs",
    "authorizer": "local",
    "cgroups_cpu_enable_pids_and_tids_count": "false",
    "cgroups_destroy_timeout": "1mins",
    "cgroups_enable_cfs": "false",
    "cgroups_hierarchy": "/sys/fs/cgroup",
    "cgroups_limit_swap": "false",
    "cgroups_root": "mesos",
    "container_disk_watch_interval": "15secs",
    "containerizers": "mesos",
    "default_role": "*",
    "disallow_sharing_agent_ipc_namespace": "false",
    "disallow_sharing_agent_pid_namespace": "false",
    "disk_watch_interval": "1mins",
    "docker": "docker",
    "docker_ignore_runtime": "false",
    "docker_kill_orphans": "true",
    "docker_registry": "https://registry-1.docker.io",
    "docker_remove_delay": "6hrs",
    "docker_socket": "/var/run/docker.sock",
    "docker_stop_timeout": "0ns",
    "docker_store_dir": "/tmp/mesos/store/docker",
    "docker_volume_checkpoint_dir": "/var/run/mesos/isolators/docker/volume",
    "docker_volume_chown": "false",
    "enforce_container_disk_quota": "false",
    "executor_registration_timeout": "1mins",
    "executor_reregistration_timeout": "2secs",
    "executor_shutdown_grace_period": "5secs",
    "fetcher_cache_dir": "/tmp/mesos/fetch",
    "fetcher_cache_size": "2GB",
    "fetcher_stall_timeout": "1mins",
    "frameworks_home": "",
    "gc_delay": "1weeks",
    "gc_disk_headroom": "0.1",
    "gc_non_executor_container_sandboxes": "false",
    "help": "false",
    "hostname_lookup": "true",
    "http_command_executor": "false",
    "http_executor_domain_sockets": "false",
    "http_heartbeat_interval": "30secs",
    "initialize_driver_logging": "true",
    "isolation": "posix/cpu,posix/mem",
    "logbufsecs": "0",
    "logging_level": "INFO",
    "max_completed_executors_per_framework": "150",
    "memory_profiling": "false",
    "network_cni_metrics": "true",
    "network_cni_root_dir_persist": "false",
    "oversubscribed_resources_interval": "15secs",
    "perf_duration": "10secs",
    "perf_interval": "1mins",
    "port": "5051",
    "qos_correction_interval_min": "0ns",
    "quiet": "false",
    "reconfiguration_policy": "equal",
    "recover": "reconnect",
    "recovery_timeout": "15mins",
    "registration_backoff_factor": "1secs",
    "revocable_cpu_low_priority": "true",
    "sandbox_directory": "/mnt/mesos/sandbox",
    "strict": "true",
    "switch_user": "true",
    "systemd_enable_support": "true",
    "systemd_runtime_directory": "/run/systemd/system",
    "version": "false",
    "zk_session_timeout": "10secs",
}


def parse(*argv: str, **environ: str) -> AgentFlags:
    return parse_agent_flags(["--master=127.0.0.1:5050", "--work_dir=/w", *argv], environ)


def test_all_names_of_upstream_are_known() -> None:
    """Our own are said to be ours, and not displayed unless they are given."""
    assert FLAGS.flags.keys() == {*NAMES, *OWN}
    assert not OWN & {*NAMES, *parse().display}


def test_each_flag_has_its_place_in_one_group() -> None:
    grouped = [name for group in GROUPS.values() for name in group.names]
    assert sorted(grouped) == sorted(FLAGS.flags)
    assert not GROUPS.keys() & FLAGS.names  # [section] or flag, never both


def test_the_flags_of_a_group_are_declared_together() -> None:
    homes = {name: home for home in AgentFlags.__bases__ for name in home.__annotations__}
    for group in GROUPS.values():
        assert len({homes[name] for name in group.names if name in homes}) <= 1, group.title


def test_aliases_are_known() -> None:
    given = parse("--slave_subsystems=cpu", "--allowed_capabilities={}", "--executor_secret_key=/k")
    assert given.given >= {"agent_subsystems", "effective_capabilities", "jwt_secret_key"}
    assert sum("deprecated flag" in text for text in given.warnings) == 3


def test_defaults_are_displayed_as_upstream_does() -> None:
    shown = dict(parse().display)
    machine = {name: shown.pop(name) for name in ("launcher", "launcher_dir", "runtime_dir")}
    assert machine["launcher"] in ("linux", "posix")
    assert os.path.isdir(machine["launcher_dir"])
    assert shown == {**UPSTREAM_DEFAULTS, "master": "127.0.0.1:5050", "work_dir": "/w"}


def test_the_recorded_agent() -> None:
    """The command line of the recording gives the display of the recording."""
    flags = parse_agent_flags(
        [
            "--master=127.0.0.1:5050",
            "--ip=127.0.0.1",
            "--port=5051",
            "--hostname=agent.example",
            "--work_dir=/var/lib/mesos-test/a",
            "--runtime_dir=/var/lib/mesos-test/run",
            "--launcher_dir=/usr/libexec/mesos",
            "--isolation=docker/runtime,filesystem/linux,cgroups/cpu",
            "--image_providers=docker,appc",
            "--launcher=linux",
            "--executor_environment_variables={}",
            "--docker_registry=/var/lib/mesos-test/registry",
            "--no-systemd_enable_support",
            "--attributes=rack:r1;zone:z1",
        ],
        {},
    )
    assert flags.display == {
        **UPSTREAM_DEFAULTS,
        "master": "127.0.0.1:5050",
        "ip": "127.0.0.1",
        "hostname": "agent.example",
        "work_dir": "/var/lib/mesos-test/a",
        "runtime_dir": "/var/lib/mesos-test/run",
        "launcher_dir": "/usr/libexec/mesos",
        "isolation": "docker/runtime,filesystem/linux,cgroups/cpu",
        "image_providers": "docker,appc",
        "launcher": "linux",
        "executor_environment_variables": "{}",
        "docker_registry": "/var/lib/mesos-test/registry",
        "systemd_enable_support": "false",
        "attributes": "rack:r1;zone:z1",
    }
    assert flags.executor_environment_variables == {}
    assert flags.warnings == ()


def test_the_tutorial_of_2016() -> None:
    flags = parse_agent_flags(
        [
            "--master=10.0.0.1:5050",
            "--executor_registration_timeout=5mins",
            "--containerizers=mesos",
            "--isolation=filesystem/linux",
            "--image_providers=APPC",
            "--appc_simple_discovery_uri_prefix=/images/",
        ],
        {"HOME": "/home/user"},
    )
    assert flags.executor_registration_timeout == 300.0
    assert flags.work_dir in ("/var/lib/mesos", "/home/user/.local/state/mesos")
    assert flags.display["work_dir"] == flags.work_dir
    assert flags.warnings == (f"No --work_dir given: using {flags.work_dir}",)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/mesos"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, "/h/.local/state/mesos"),
    ],
)
def test_a_work_dir_of_the_user(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], folder: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert module.machine_defaults(environ)["work_dir"] == folder
    assert module.machine_defaults(environ)["launcher"] == "posix"
    assert module.machine_defaults({})["work_dir"].endswith("mesos-1000")


def test_the_environment_sets_flags() -> None:
    flags = parse_agent_flags([], {"MESOS_MASTER": "h:1", "MESOS_WORK_DIR": "/w", "TMPDIR": "/t"})
    assert (flags.master, flags.work_dir) == ("h:1", "/w")
    assert flags.docker_store_dir == "/t/mesos/store/docker"


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["--nonsense"], "Failed to load unknown flag 'nonsense'"),
        (["--master_detector=x"], "Only one of `--master` or `--master_detector`"),
        (["--registration_backoff_factor=2mins"], "Invalid value '2mins' for --registration_b"),
        (["--gc_disk_headroom=1.5"], "Invalid value '1.5' for --gc_disk_headroom"),
        (["--executor_reregistration_timeout=16secs"], "not more than 15secs"),
        (["--recover=maybe"], "Unknown option for 'recover' flag maybe. Please run the agent"),
        (["--reconfiguration_policy=any"], "Unknown option for 'reconfiguration_policy' flag any"),
        (["--launcher=magic"], "Unknown or unsupported launcher: magic"),
        (["--logging_level=LOUD"], "'LOUD' is not a valid logging level"),
        (["--domain={}"], "`domain` must define `fault_domain`"),
        (['--executor_environment_variables={"A":1}'], "executor_environment_variables"),
        (["--port=x"], "Failed to load flag 'port': Failed to load value 'x'"),
        (
            ['--agent_features={"capabilities": [{"type": "MULTI_ROLE"}]}'],
            "At least the following agent features need to be enabled: MULTI_ROLE,"
            " HIERARCHICAL_ROLE, RESERVATION_REFINEMENT, AGENT_OPERATION_FEEDBACK,"
            " RESOURCE_PROVIDER, AGENT_DRAINING, TASK_RESOURCE_LIMITS",
        ),
        (['--agent_features={"capabilities": 1}'], "Failed to load flag 'agent_features'"),
    ],
)
def test_refusals(argv: list[str], error: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(*argv)
    assert error in str(caught.value)


def test_a_master_is_needed() -> None:
    with pytest.raises(
        FlagError, match="Missing required option `--master` or `--master_detector`"
    ):
        parse_agent_flags(["--work_dir=/w"], {})


def test_help_and_version_win_over_what_is_missing() -> None:
    assert parse_agent_flags(["--help"], {}).help
    assert parse_agent_flags(["--version", "--work_dir"], {}).version
    with pytest.raises(FlagError):
        parse_agent_flags(["--attributes", "--help"], {})


def test_firewall_rules() -> None:
    assert parse().firewall_rules is None
    flags = parse('--firewall_rules={"disabled_endpoints":{"paths":["/state","/files/read"]}}')
    assert flags.firewall_rules == {"disabled_endpoints": {"paths": ["/state", "/files/read"]}}
    assert flags.display["firewall_rules"] == (
        'disabled_endpoints {\n  paths: "/state"\n  paths: "/files/read"\n}\n'
    )
    with pytest.raises(FlagError, match="Failed to load flag 'firewall_rules'"):
        parse('--firewall_rules={"disabled_endpoints":["/state"]}')


def test_acls() -> None:
    assert parse().acls is None
    assert parse().authorizer == "local"
    flags = parse('--acls={"view_flags":[{"principals":{"type":"NONE"},"flags":{}}],"x":1}')
    assert flags.acls is not None
    assert flags.display["acls"] == (
        "view_flags {\n  principals {\n    type: NONE\n  }\n  flags {\n  }\n}\n"
    )
    assert parse("--acls={}").acls == {}
    (warning,) = parse("--acls={}", "--authenticate_http_readonly").warnings
    assert "only rules for ANY or NONE" in warning
    both = "--authenticate_http_readonly", "--authenticate_http_readwrite"
    assert parse("--acls={}", *both).warnings == ()
    for value in ("[]", "{", '{"view_flags":[{"flags":{}}]}'):
        with pytest.raises(FlagError, match="acls"):
            parse(f"--acls={value}")


def test_what_has_no_effect_says_so_once_and_only_if_it_would_have_one() -> None:
    flags = parse("--perf_events=cycles", "--systemd_enable_support=false", "--perf_interval=1mins")
    assert flags.warnings == ("Flag --perf_events is not implemented yet and has no effect",)
    assert flags.values["perf_events"] == "cycles"
    assert WITHOUT_EFFECT.keys() <= FLAGS.flags.keys()


def test_typed_flags_are_read_by_the_agent_or_said_to_have_no_effect() -> None:
    root = Path(module.__file__).parent.parent
    files = [
        *(root / "cli").glob("agent*.py"),
        root / "http" / "realms.py",
        *(root / "agent").glob("*.py"),
    ]
    text = "".join(file.read_text() for file in files)
    typed = {field.name for field in dataclasses.fields(AgentFlags)} & FLAGS.flags.keys()
    read = {name for name in typed if re.search(rf'\bflags\.(values\["{name}"|{name}\b)', text)}
    read |= {"master", "config", "config_dir"}  # read where flags are
    read.discard("fetcher_cache_size")  # only shown in a metric
    assert typed - read == typed & WITHOUT_EFFECT.keys()


def test_a_master_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "master"
    file.write_text("10.0.0.1:5050\n")
    flags = parse_agent_flags([f"--master=file://{file}", "--work_dir=/w"], {})
    assert flags.master == "10.0.0.1:5050\n"
    assert flags.master_location == f"file://{file}"
    assert flags.display["master"] == str(file)
    assert parse().master_location == "127.0.0.1:5050"


def test_help_is_complete() -> None:
    text = usage({})
    for name in NAMES:
        assert f"--{name}=" in text or f"--[no-]{name}\n" in text
    later = "Not implemented yet."
    text = " ".join(text.split())
    assert text.count(later) == len(WITHOUT_EFFECT)
    assert text.count("[mesos-compat]") == len(OWN) + 1
    assert all(f" {group.title}: --" in text for group in GROUPS.values())
    assert " Others: " not in text
    assert re.search(r"comma separated\. Installed: .*\bnamespaces/pid, .*\bposix/cpu, ", text)


def test_the_nearest_flag_is_a_note() -> None:
    with pytest.raises(FlagError) as caught:
        parse("--worc-dir=/w")
    assert str(caught.value) == "Failed to load unknown flag 'worc-dir'"
    assert caught.value.__notes__ == ["Did you mean --work_dir?"]


class TestFiles:
    """Flags from --config and --config_dir."""

    @pytest.fixture
    def etc(self, tmp_path: Path) -> Path:
        (tmp_path / "mesos-slave").mkdir()
        (tmp_path / "default").mkdir()
        (tmp_path / "mesos").mkdir()
        return tmp_path

    def load(self, etc: Path, *argv: str, toml: str = "", **environ: str) -> AgentFlags:
        (etc / "agent.toml").write_text(toml)
        places = [f"--config={etc}/agent.toml", f"--config_dir={etc}/mesos-slave"]
        return parse_agent_flags([*places, *argv], {"PATH": os.environ["PATH"], **environ})

    def test_the_strongest_place_counts(self, etc: Path) -> None:
        for name in ("port", "gc_delay", "default_role", "hostname", "master"):
            value = {"port": "1", "gc_delay": "1days"}.get(name, "directory")
            (etc / "mesos-slave" / name).write_text(f"{value}\n")
        toml = 'port = 2\ngc_delay = "2days"\ndefault_role = "file"\nmaster = "file:1"'
        flags = self.load(
            etc, "--port=4", toml=toml, MESOS_PORT="3", MESOS_GC_DELAY="3days", MESOS_IP="1.1.1.1"
        )
        assert (flags.port, flags.gc_delay, flags.default_role) == (4, 3 * 86400, "file")
        assert (flags.hostname, flags.master) == ("directory", "file:1")
        assert flags.display["default_role"] == "file"
        assert flags.origins == {
            "default_role": f"{etc}/agent.toml",
            "master": f"{etc}/agent.toml",
            "hostname": f"{etc}/mesos-slave/hostname",
        }

    def test_a_flag_under_another_name_counts_too(self, etc: Path) -> None:
        (etc / "mesos-slave" / "slave_subsystems").write_text("a")
        toml = 'master = "m:1"\nagent_subsystems = ["b", "c"]'
        assert self.load(etc, toml=toml).agent_subsystems == "b,c"
        assert self.load(etc, "--slave_subsystems=d", toml=toml).agent_subsystems == "d"

    def test_one_of_two_flags_puts_the_other_out(self, etc: Path) -> None:
        (etc / "mesos-slave" / "master").write_text("m:1")
        (etc / "mesos-slave" / "ip").write_text("1.1.1.1")
        toml = 'ip_discovery_command = "echo 2.2.2.2"'
        flags = self.load(etc, "--master_detector=x", toml=toml)
        assert (flags.master, flags.ip) == (None, None)

    def test_values_from_files_and_checks_are_those_of_the_command_line(self, etc: Path) -> None:
        (etc / "secret").write_text("rack:1")
        toml = f'master = "file://{etc}/secret"\nattributes = "file://{etc}/secret"'
        flags = self.load(etc, toml=toml)
        assert flags.attributes == "rack:1"
        assert flags.master_location == f"file://{etc}/secret"
        with pytest.raises(FlagError, match=r"Must be between 0\.0 and 1\.0"):
            self.load(etc, toml='master = "m:1"\ngc_disk_headroom = 2')
        flags = self.load(etc, toml='master = "m:1"\n[acls]\npermissive = false')
        assert flags.acls == {"permissive": False}

    def test_errors_name_the_file(self, etc: Path) -> None:
        (etc / "mesos-slave" / "prot").write_text("1")
        with pytest.raises(FlagError) as caught:
            self.load(etc)
        assert str(caught.value) == (f"{etc}/mesos-slave/prot: Failed to load unknown flag 'prot'")
        assert caught.value.__notes__ == ["Did you mean --port?"]

    def test_help_needs_no_files(self) -> None:
        assert parse_agent_flags(["--help", "--config=/does/not/exist"], {}).help
        with pytest.raises(FlagError, match="Failed to read --config '/does/not/exist'"):
            parse("--config=/does/not/exist")

    def test_a_host_of_the_packages(self, etc: Path) -> None:
        (etc / "mesos" / "zk").write_text("10.0.0.1:5050\n")
        (etc / "default" / "mesos").write_text("LOGS=/var/log/mesos\nULIMIT='-n 8192'\n")
        (etc / "default" / "mesos-slave").write_text(
            f"MASTER=`cat {etc}/mesos/zk`\nexport LIBPROCESS_IP=10.0.0.7 MESOS_PORT=5055\n"
        )
        (etc / "mesos-slave" / "?no-switch_user").touch()
        flags = self.load(etc)
        assert (flags.master, flags.port, flags.switch_user) == ("10.0.0.1:5050", 5055, False)
        assert flags.log_dir == "/var/log/mesos"
        assert flags.variables == {"LIBPROCESS_IP": "10.0.0.7"}
        assert any("ULIMIT" in warning for warning in flags.warnings)


class TestListening:
    def test_flags_and_variables(self) -> None:
        flags = parse("--ip=127.0.0.1", "--advertise_ip=10.0.0.9", "--advertise_port=99")
        options = listen_options(flags, {"LIBPROCESS_PORT": "7", "LIBPROCESS_IP": "1.1.1.1"})
        assert (options.ip, options.port) == ("127.0.0.1", 5051)
        assert (options.advertise_ip, options.advertise_port) == ("10.0.0.9", 99)

    def test_a_discovered_address(self) -> None:
        flags = parse("--ip_discovery_command=echo ' 127.0.0.2 '")
        assert listen_options(flags, {}).ip == "127.0.0.2"

    @pytest.mark.parametrize(
        ("argv", "environ", "error"),
        [
            (["--ip=1.1.1.1", "--ip_discovery_command=x"], {}, "Only one of `--ip` or `--ip_disc"),
            (["--ip_discovery_command=exit 1"], {}, "Failed to run --ip_discovery_command"),
            (["--ip_discovery_command=echo x"], {}, "no IPv4 address"),
            (["--advertise_port=0"], {}, "not a valid port"),
        ],
    )
    def test_refusals(self, argv: list[str], environ: dict[str, Any], error: str) -> None:
        with pytest.raises(FlagError) as caught:
            listen_options(parse(*argv), environ)
        assert error in str(caught.value)
