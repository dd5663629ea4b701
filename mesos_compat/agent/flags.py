# SPDX-License-Identifier: Apache-2.0
"""The flags of the agent: all names that upstream's agent knows.

Those that this agent acts on are typed attributes of ``AgentFlags``; the others are declared in
``flag_table.py``, load and display alike, and say once that they have no effect.

Where values come from, the strongest first: command line, ``MESOS_*`` variables, the file of
``--config``, what ``--config_dir`` names.

Deviation: upstream refuses to start without ``--work_dir``; we choose one and say which.

Source: spec ``agent-flags.tsv``, ``state-and-recovery`` 1.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mesos_compat.agent.features import features_error
from mesos_compat.agent.flag_groups import GROUPS, OWN
from mesos_compat.agent.flag_kinds import ACLS, FIREWALL
from mesos_compat.agent.flag_table import OTHER_FLAGS, WITHOUT_EFFECT
from mesos_compat.agent.packaged import read_packaged
from mesos_compat.base.errors import FlagError
from mesos_compat.base.flags import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    JSON_OBJECT,
    JSON_STRINGS,
    NAMES,
    PAIRS,
    PAIRS_OR_JSON,
    PATH,
    PATH_OR_VALUE,
    PATHS,
    SIZE,
    STRING,
    STRING_SET,
    UINT16,
    FlagSet,
    LoadedFlags,
    Setting,
    flag,
    optional,
)
from mesos_compat.base.plugins import Group
from mesos_compat.base.toml_flags import read_toml
from mesos_compat.libprocess.address import ListenOptions

#: Groups of plug-ins, by the flag that names some of them.
_GROUPS: Final[Mapping[str, str]] = {
    "containerizers": "mesos_compat.containerizers",
    "isolation": "mesos_compat.isolators",
    "image_providers": "mesos_compat.image_stores",
    "image_provisioner_backend": "mesos_compat.image_backends",
    "container_logger": "mesos_compat.container_loggers",
    "hooks": "mesos_compat.hooks",
    "secret_resolver": "mesos_compat.secret_resolvers",
    "master_detector": "mesos_compat.master_detectors",
    "authenticatee": "mesos_compat.authenticatees",
    "authorizer": "mesos_compat.authorizers",
    "http_authenticators": "mesos_compat.http_authenticators",
    "resource_estimator": "mesos_compat.resource_estimators",
    "qos_controller": "mesos_compat.qos_controllers",
}

#: Seconds that an ``--ip_discovery_command`` may take.
_DISCOVERY_TIMEOUT_S: Final = 30.0

#: Pairs of flags of which one at most can be given: one in a stronger place puts the other out.
_EITHER_OR: Final = (
    ("master", "master_detector"),
    ("ip", "ip_discovery_command"),
    ("ip6", "ip6_discovery_command"),
)
#: Flags that say where other flags are.
_PLACES: Final = ("config", "config_dir", "help", "version")

_ABOUT: Final = "\n".join(
    (
        "An agent for Apache Mesos masters.",
        "Flags can also be given as environment variables (--work_dir as MESOS_WORK_DIR), in a"
        " file of TOML (--config), and as the Mesos packages keep them (--config_dir). If one is"
        " given in several of these, the first in this order counts: command line, environment,"
        " --config, --config_dir.",
        "DURATION is a number with its unit, without a blank: ns, us, ms, secs, mins, hrs, days or"
        " weeks. BYTES is an integer with its unit: B, KB, MB, GB or TB. file:///path as a value"
        ' means the content of that file. "[mesos-compat]" marks flags that upstream\'s agent does'
        " not have.",
    )
)


def _at_most_a_minute(value: float) -> str | None:
    if value <= 60:
        return None
    shown = DURATION.show(value)
    return f"Invalid value '{shown}' for --registration_backoff_factor. Must be less than 1mins"


def _at_most_15_seconds(value: float) -> str | None:
    if value <= 15:
        return None
    return "Expected `--executor_reregistration_timeout` to be not more than 15secs"


def _positive_interval(value: float) -> str | None:
    if value > 0:
        return None
    return "Expected `--executor_reregistration_retry_interval` to be positive"


def _positive_session(value: float) -> str | None:
    return None if value > 0 else "Expected `--zk_session_timeout` to be positive"


def _headroom(value: float) -> str | None:
    if 0 <= value <= 1:
        return None
    return f"Invalid value '{value:g}' for --gc_disk_headroom. Must be between 0.0 and 1.0"


def _recover(value: str) -> str | None:
    if value in ("reconnect", "cleanup"):
        return None
    return (
        f"Unknown option for 'recover' flag {value}. "
        "Please run the agent with '--help' to see the valid options"
    )


def _policy(value: str) -> str | None:
    if value in ("equal", "additive"):
        return None
    return f"Unknown option for 'reconfiguration_policy' flag {value}"


def _launcher(value: str) -> str | None:
    return None if value in ("linux", "posix") else f"Unknown or unsupported launcher: {value}"


def _logging_level(value: str) -> str | None:
    if value in ("INFO", "WARNING", "ERROR"):
        return None
    return (
        f"'{value}' is not a valid logging level. Possible values for 'logging_level' flag are: "
        "'INFO', 'WARNING', 'ERROR'."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFlags:
    """What the agent was told, under the names of the flags.

    Durations are seconds (float), sizes bytes. Paths are as given, never normalised.
    """

    # --- program and log ---
    help: bool = flag(BOOL, "Print this text and exit.", default=False)
    version: bool = flag(BOOL, "Print the version and exit.", default=False)
    quiet: bool = flag(BOOL, "Write no log to stderr.", default=False)
    logging_level: str = flag(
        STRING,
        "Least severity that is logged: INFO, WARNING or ERROR. GLOG_v=1 adds verbose lines.",
        default="INFO",
        check=_logging_level,
    )
    log_dir: str | None = optional(PATH, "Directory for log files; made if missing.")
    logbufsecs: int = flag(
        INT, "Seconds that lines may be buffered; they are written at once.", default=0
    )
    external_log_file: str | None = optional(
        PATH, "A log file written by something else, shown by the file browser as this agent's."
    )

    config: str | None = optional(PATH, "A file of TOML with flags (docs/operations.md).")
    config_dir: str | None = optional(
        PATH,
        "A directory with a file per flag, as the Mesos packages' /etc/mesos-slave, with what goes"
        " with it: /etc/default/mesos, /etc/default/mesos-slave, /etc/mesos/zk.",
    )

    # --- master and addresses ---
    master: str | None = optional(
        PATH_OR_VALUE,
        "Where the master is: host:port, master@host:port, zk://[user:pass@]host1:port1,...,/path, "
        "or file:///path to a file that says so.",
    )
    master_detector: str | None = optional(
        STRING, "Plug-in that finds the master; instead of --master."
    )
    zk_session_timeout: float = flag(
        DURATION, "Session timeout with ZooKeeper.", default=10.0, check=_positive_session
    )
    ip: str | None = optional(STRING, "IPv4 address to listen on.")
    ip_discovery_command: str | None = optional(
        STRING, "Shell command that prints the IPv4 address to listen on; instead of --ip."
    )
    port: int = flag(UINT16, "Port to listen on.", default=5051)
    advertise_ip: str | None = optional(
        STRING, "IPv4 address that others reach this agent at, if it is not the bound one."
    )
    advertise_port: str | None = optional(
        STRING, "Port that others reach this agent at, if it is not the bound one."
    )
    hostname: str | None = optional(
        STRING, "Name of this host in offers and links; looked up from the address if not given."
    )
    hostname_lookup: bool = flag(
        BOOL, "Look the host name up; otherwise the IP address is the name.", default=True
    )
    registration_backoff_factor: float = flag(
        DURATION,
        "The first attempt to register is made at a random time up to this; the range doubles "
        "with each further one, to a minute at most.",
        default=1.0,
        check=_at_most_a_minute,
    )

    agent_features: Mapping[str, Any] | None = optional(
        JSON_OBJECT,
        'What masters are told that the agent can do, as {"capabilities": [{"type": "MULTI_ROLE"}, '
        "...]}; all but RESIZE_VOLUME have to be there. All of it if not given.",
        check=features_error,
    )

    # --- authentication with the master ---
    credential: str | None = optional(
        PATH,
        "File with principal and secret to authenticate with at masters: a JSON object, or one "
        "line of both.",
    )
    authenticatee: str = flag(
        STRING, "How to authenticate at masters: crammd5 or a plug-in.", default="crammd5"
    )
    authentication_backoff_factor: float = flag(
        DURATION,
        "Attempts to authenticate time out at random between --authentication_timeout_min and "
        "twice this more; the range doubles with each failure, up to --authentication_timeout_max.",
        default=1.0,
    )
    authentication_timeout_min: float = flag(DURATION, "Least authentication timeout.", default=5.0)
    authentication_timeout_max: float = flag(
        DURATION, "Greatest authentication timeout.", default=60.0
    )

    # --- authentication of HTTP requests ---
    authenticate_http_readonly: bool = flag(
        BOOL, "Authenticate requests that only read.", default=False
    )
    authenticate_http_readwrite: bool = flag(
        BOOL, "Authenticate requests that act, and the v1 operator API.", default=False
    )
    authenticate_http_executors: bool | None = optional(
        BOOL, "Authenticate executors, by the tokens that they are given; needs --jwt_secret_key."
    )
    jwt_secret_key: str | None = optional(
        PATH,
        "File whose bytes are the key of executors' tokens.",
        deprecated=("executor_secret_key",),
    )
    http_authenticators: str | None = optional(
        NAMES,
        "How requests are authenticated: basic, jwt or plug-ins, comma separated, in the order in "
        "which they are asked. basic if not given, with jwt if executors are authenticated.",
    )
    http_credentials: str | None = optional(
        PATH,
        "File with the principals and secrets for basic: a JSON object with a list of credentials, "
        "or a line for each.",
    )

    # --- authorization ---
    acls: Mapping[str, Any] | None = optional(
        ACLS,
        'Who may do what, as {"permissive": false, "view_flags": [{"principals": {"values": '
        '["ops"]}, "flags": {"type": "ANY"}}], ...}; everybody may do everything if not given.',
    )
    authorizer: str = flag(
        STRING, "What decides who may do what: local, by --acls, or a plug-in.", default="local"
    )

    firewall_rules: Mapping[str, Any] | None = optional(
        FIREWALL,
        'Endpoints that are switched off, as {"disabled_endpoints": {"paths": ["/files/browse"]}}.',
    )

    # --- resources and attributes ---
    resources: str | None = optional(
        PAIRS_OR_JSON,
        "Resources as name(role):value;... or as a JSON array. What is missing of cpus, mem, disk "
        "and ports is found out.",
    )
    default_role: str = flag(STRING, "Role of resources that name none.", default="*")
    attributes: str | None = optional(PAIRS, "Attributes as name:value;...")

    # --- oversubscription ---
    resource_estimator: str | None = optional(
        STRING, "Plug-in that estimates resources to oversubscribe."
    )
    oversubscribed_resources_interval: float = flag(
        DURATION, "Time between two estimates.", default=15.0
    )
    qos_controller: str | None = optional(STRING, "Plug-in that corrects oversubscription.")
    qos_correction_interval_min: float = flag(
        DURATION, "Least time between two corrections.", default=0.0
    )

    # --- directories ---
    work_dir: str = flag(
        PATH, "Root of sandboxes, meta data, volumes and container file systems.", default=""
    )
    runtime_dir: str = flag(
        PATH,
        "Root of state that must survive a restart of the agent but not of the machine.",
        default="",
    )
    launcher_dir: str = flag(PATH, "Directory of the programs that run in containers.", default="")
    sandbox_directory: str = flag(
        STRING,
        "Where containers with an own root file system see their sandbox.",
        default="/mnt/mesos/sandbox",
    )
    frameworks_home: str = flag(STRING, "Prefix of relative URIs.", default="")

    # --- containers ---
    containerizers: str = flag(NAMES, "Containerizers in use.", default="mesos")
    isolation: str = flag(
        NAMES, "Isolators of the containerizer, comma separated.", default="posix/cpu,posix/mem"
    )
    launcher: str = flag(
        STRING,
        "How containers are started: linux (cgroups, namespaces) or posix (sessions).",
        default="posix",
        check=_launcher,
    )
    image_providers: str | None = optional(NAMES, "Kinds of images: APPC, DOCKER or both.")
    image_gc_config: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "When to remove unused images, and which never."
    )
    image_provisioner_backend: str | None = optional(
        STRING, "How root file systems are made: overlay, copy, bind or aufs. Chosen if not given."
    )
    appc_simple_discovery_uri_prefix: str = flag(
        PATH,
        "Prefix of the URIs where AppC images are looked for: /directory/, file://, http://, "
        "https:// or hdfs://.",
        default="http://",
    )
    appc_meta_discovery: bool | None = optional(
        BOOL,
        "Ask the site that an AppC image is named after where it is, if it is not below the "
        "prefix.",
    )
    appc_meta_discovery_insecure: bool | None = optional(
        BOOL, "Ask sites that have no TLS, too, and take images from there."
    )
    appc_trusted_keys: str | None = optional(
        PATH,
        "Directory with the OpenPGP keys one of which has to have signed an AppC image. "
        "Signatures are not looked at if not given.",
    )
    appc_trust_discovered_keys: bool | None = optional(
        BOOL, "Trust the keys that the site of an AppC image names, too."
    )
    appc_extensions: tuple[str, ...] | None = optional(
        STRING_SET,
        "Parts of the AppC specification to honour that upstream's agent ignores, comma "
        "separated: dependency_ids, path_whitelist, environment, isolators, mount_points, user. "
        "The first two if not given.",
    )
    appc_store_dir: str = flag(PATH, "Where AppC images are kept.", default="")
    docker_registry: str = flag(
        STRING,
        "Where Docker images come from: a registry's URL, or a directory of saved images as "
        "/directory, hdfs://host/directory or archive+https://host/directory.",
        default="https://registry-1.docker.io",
    )
    docker_store_dir: str = flag(PATH, "Where Docker images are kept.", default="")
    docker_config: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Docker client configuration with credentials of registries."
    )
    docker_registry_mirrors: str | None = optional(
        PATH, "Mirrors of registries: a directory of hosts.toml files, or a registries.conf."
    )
    docker_registry_certs: str | None = optional(
        PATH,
        "Directory with <registry>/*.crt, and *.cert with *.key, for TLS to registries."
        " /etc/docker/certs.d if not given.",
    )
    docker_insecure_registries: str | None = optional(
        NAMES,
        "Registries (host, host:port or network) without a certificate that can be checked, or"
        " without TLS.",
    )
    docker_ignore_runtime: bool = flag(
        BOOL, "Ignore environment, entry point and command of Docker images.", default=False
    )
    docker_image_user: bool | None = optional(
        BOOL,
        "Run containers as the user that their Docker image says, unless the task names one.",
    )
    hadoop_home: str | None = optional(
        PATH, "Where Hadoop is installed, for images in HDFS. HADOOP_HOME or PATH if not given."
    )
    default_container_info: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "ContainerInfo of executors that have none."
    )
    executor_environment_variables: Mapping[str, str] | None = optional(
        JSON_STRINGS, "Environment of executors besides what the agent sets."
    )
    switch_user: bool = flag(
        BOOL, "Run tasks as their user and give them their sandbox.", default=True
    )
    http_command_executor: bool = flag(
        BOOL, "Accepted: our command executor always uses the HTTP API.", default=False
    )
    container_logger: str | None = optional(
        STRING, "Plug-in that takes the output of containers; files in the sandbox without it."
    )
    http_executor_domain_sockets: bool = flag(
        BOOL, "Let executors reach the agent by a Unix socket.", default=False
    )
    domain_socket_location: str | None = optional(
        STRING,
        "Path of that socket, or systemd:NAME for one that systemd listens on; agent.sock in "
        "--runtime_dir if not given.",
    )
    executor_registration_timeout: float = flag(
        DURATION, "Time from launch to registration of an executor.", default=60.0
    )
    executor_reregistration_timeout: float = flag(
        DURATION,
        "Time for executors to come back after a restart of the agent.",
        default=2.0,
        check=_at_most_15_seconds,
    )
    executor_reregistration_retry_interval: float | None = optional(
        DURATION,
        "Time between two requests to come back, to executors that use libprocess messages.",
        check=_positive_interval,
    )
    executor_shutdown_grace_period: float = flag(
        DURATION, "Time between asking an executor to shut down and killing it.", default=5.0
    )
    recovery_timeout: float = flag(
        DURATION, "How long executors wait for an agent that is gone.", default=900.0
    )
    max_completed_executors_per_framework: int = flag(
        SIZE, "Ended executors per framework to remember.", default=150
    )
    gc_delay: float = flag(
        DURATION, "Age at which sandboxes and meta directories are removed.", default=604800.0
    )
    gc_non_executor_container_sandboxes: bool = flag(
        BOOL,
        "Remove sandboxes of ended nested containers before that of their executor.",
        default=False,
    )
    gc_disk_headroom: float = flag(
        DOUBLE,
        "Sandboxes are removed earlier the fuller the disk is; at 1 minus this, at once.",
        default=0.1,
        check=_headroom,
    )
    disk_watch_interval: float = flag(
        DURATION, "How often disk usage is looked at for that.", default=60.0
    )
    recover: str = flag(
        STRING,
        "At restart: reconnect to live executors, or cleanup (end them and exit).",
        default="reconnect",
        check=_recover,
    )
    drain_on_sigterm: float | None = optional(
        DURATION,
        "On SIGTERM kill all tasks, with a grace period of at most this, and unregister; without it"
        " containers of checkpointing frameworks go on.",
    )
    strict: bool = flag(BOOL, "Stop at unreadable checkpoints.", default=True)
    reconfiguration_policy: str = flag(
        STRING,
        "Changes allowed at restart: equal (none) or additive.",
        default="equal",
        check=_policy,
    )
    http_heartbeat_interval: float = flag(
        DURATION, "Heartbeat of attached output streams.", default=30.0
    )

    # --- cgroups ---
    cgroups_hierarchy: str = flag(
        PATH, "Folder below which cgroup hierarchies are mounted.", default="/sys/fs/cgroup"
    )
    systemd_enable_support: bool = flag(
        BOOL, "Keep containers when systemd ends the agent's service.", default=True
    )
    systemd_runtime_directory: str = flag(
        PATH, "Where the unit of their slice is written.", default="/run/systemd/system"
    )
    cgroups_root: str = flag(STRING, "Cgroup that holds those of containers.", default="mesos")
    agent_subsystems: str | None = optional(
        NAMES,
        "Comma-separated controllers of the agent's own cgroups.",
        deprecated=("slave_subsystems",),
    )
    cgroups_destroy_timeout: float = flag(
        DURATION, "Time to kill all of a container and remove its cgroups.", default=60.0
    )
    cgroups_enable_cfs: bool = flag(
        BOOL, "Limit containers to their cpus, idle ones elsewhere or not.", default=False
    )
    cgroups_limit_swap: bool = flag(BOOL, "Limit memory and swap together.", default=False)
    cgroups_cpu_enable_pids_and_tids_count: bool = flag(
        BOOL, "Count processes and threads of containers.", default=False
    )
    revocable_cpu_low_priority: bool = flag(
        BOOL, "Containers with revocable cpus get least priority.", default=True
    )
    allowed_devices: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Devices that containers may use besides the usual ones."
    )
    effective_capabilities: Mapping[str, Any] | None = optional(
        JSON_OBJECT,
        "Capabilities of tasks that ask for none.",
        deprecated=("allowed_capabilities",),
    )
    bounding_capabilities: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Most capabilities that tasks can have."
    )
    seccomp_config_dir: str | None = optional(
        PATH, "Directory with the seccomp profiles that containers can name."
    )
    seccomp_profile_name: str | None = optional(
        STRING, "Seccomp profile of containers that name none, in --seccomp_config_dir."
    )
    disallow_sharing_agent_pid_namespace: bool = flag(
        BOOL, "Give each top-level container an own pid namespace.", default=False
    )
    disallow_sharing_agent_ipc_namespace: bool = flag(
        BOOL, "Give each top-level container an own IPC namespace.", default=False
    )
    default_container_shm_size: int | None = optional(
        BYTES, "Size of /dev/shm of containers with a private one."
    )
    host_path_volume_force_creation: str | None = optional(
        PATHS, "Colon separated directories below which missing volume paths are made."
    )
    volume_gid_range: str | None = optional(
        STRING,
        "Group ids, as [10000-20000], for persistent volumes and directories of a parent's "
        "sandbox: tasks of users other than root can work in them whoever owns them.",
    )
    network_cni_plugins_dir: str | None = optional(
        PATHS, "Colon separated directories with CNI plug-ins."
    )
    network_cni_config_dir: str | None = optional(PATH, "Directory of CNI network configurations.")
    secret_resolver: str | None = optional(
        STRING, "Plug-in that resolves references to secrets; without it only values are known."
    )
    hooks: str | None = optional(NAMES, "Hook plug-ins, comma separated, in the order of calls.")
    modules: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Parameters of plug-ins, as a JSON object of libraries with their modules."
    )
    modules_dir: str | None = optional(PATH, "Directory of files with what --modules takes.")
    fetcher_cache_dir: str = flag(PATH, "Where fetched files are kept.", default="")
    fetcher_cache_size: int = flag(BYTES, "How much of them.", default=2 << 30)
    fetcher_stall_timeout: float = flag(
        DURATION, "Downloads that stand still that long are given up.", default=60.0
    )

    # --- not flags ---
    #: Names of the flags that were given.
    given: frozenset[str] = frozenset()
    #: Flags as ``/flags`` shows them.
    display: Mapping[str, str]
    #: Values of all flags, those without attributes included.
    values: Mapping[str, Any]
    #: What to log at WARNING once logging runs.
    warnings: tuple[str, ...] = ()
    #: Variables for the agent's own environment, from files of ``--config_dir``.
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Flag → file where it stands, for those given neither as argument nor in the environment.
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: What ``detect`` of the master detector takes: ``--master`` with its ``file://``, if any.
    master_location: str = ""

    def __repr__(self) -> str:
        return f"<AgentFlags {' '.join(sorted(self.given))}>"


FLAGS: Final = FlagSet.of(AgentFlags, "mesos-agent", more=OTHER_FLAGS, about=_ABOUT)


def parse_agent_flags(argv: Sequence[str], environ: Mapping[str, str]) -> AgentFlags:
    """Load the flags of an agent; ``argv`` is without the program's name.

    With ``--help`` or ``--version`` nothing else is checked. Raises FlagError.
    """
    defaults = machine_defaults(environ)
    files = _Files(environ)
    loaded = FLAGS.load(argv, environ, defaults=defaults, layers=files.layers)
    asked = loaded.values["help"] or loaded.values["version"]
    warnings = [*loaded.warnings, *files.warnings]
    if not asked:
        loaded.raise_error()
        _refuse(loaded)
        warnings += _remarks(loaded)
    master = loaded.values["master"]
    if master is not None and loaded.shown["master"] != master:
        master = f"file://{loaded.shown['master']}"
    return loaded.into(
        AgentFlags,
        given=loaded.given,
        display=loaded.display(),
        values=dict(loaded.values),
        warnings=tuple(warnings),
        variables=files.variables,
        origins=loaded.origins,
        master_location=master or "",
    )


def agent_flag_values(argv: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the value of each flag, of an agent that need not be able to run. Raises FlagError."""
    files = _Files(environ)
    defaults = machine_defaults(environ)
    loaded = FLAGS.load(argv, environ, defaults=defaults, layers=files.layers)
    loaded.raise_error()
    return loaded.values


class _Files:
    """Reads the files that ``--config`` and ``--config_dir`` name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.variables: dict[str, str] = {}
        self.warnings: list[str] = []

    def layers(self, values: Mapping[str, Any]) -> list[list[Setting]]:
        """Return what stands there, the file first. Raises FlagError."""
        found: list[list[Setting]] = []
        if values["config"] is not None:
            found.append(read_toml(values["config"], FLAGS, GROUPS, _PLACES))
        if values["config_dir"] is not None:
            packaged = read_packaged(values["config_dir"], self._environ, FLAGS.names)
            self.variables = packaged.variables
            self.warnings += packaged.warnings
            found.append(packaged.settings)
        given = {name for pair in _EITHER_OR for name in pair if values[name] is not None}
        kept = []
        for layer in found:
            out = {other for pair in _EITHER_OR if given & set(pair) for other in pair}
            kept.append([setting for setting in layer if setting.name not in out])
            given |= {setting.name for setting in layer}
        return kept


def usage(environ: Mapping[str, str]) -> str:
    """Return the text of ``--help``."""
    remarks = _plugins()
    for name in WITHOUT_EFFECT:
        remarks[name] = "Not implemented yet."
    for name in OWN:
        remarks[name] = " ".join(filter(None, (remarks.get(name), "[mesos-compat]")))
    described = [
        dataclasses.replace(one, help=f"{one.help} {remarks[one.name]}")
        if one.name in remarks
        else one
        for one in FLAGS.flags.values()
    ]
    groups = {group.title: group.names for group in GROUPS.values()}
    flags = FlagSet(FLAGS.program, described, FLAGS.about)
    return flags.help(machine_defaults(environ), groups=groups)


def listen_options(flags: AgentFlags, environ: Mapping[str, str]) -> ListenOptions:
    """Say where to listen and what to advertise; runs ``--ip_discovery_command``.

    Raises FlagError for unusable addresses or a failing command.
    """
    ip = flags.ip
    if flags.ip_discovery_command is not None:
        if ip is not None:
            raise FlagError("Only one of `--ip` or `--ip_discovery_command` should be specified")
        ip = _discover(flags.ip_discovery_command)
    return ListenOptions.of(
        environ,
        ip=ip,
        port=flags.port,
        advertise_ip=flags.advertise_ip,
        advertise_port=flags.advertise_port,
    )


def machine_defaults(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the defaults that depend on the machine and the user."""
    temporary = environ.get("TMPDIR") or "/tmp"
    run = "/var/run"
    return {
        "work_dir": _work_dir(environ),
        "runtime_dir": (
            f"{run}/mesos"
            if os.access(run, os.R_OK | os.W_OK)
            else os.path.join(temporary, "mesos", "runtime")
        ),
        "launcher_dir": sysconfig.get_path("scripts"),
        "launcher": "linux" if os.geteuid() == 0 and _usable_cgroups() else "posix",
        "appc_store_dir": os.path.join(temporary, "mesos", "store", "appc"),
        "docker_store_dir": os.path.join(temporary, "mesos", "store", "docker"),
        "fetcher_cache_dir": os.path.join(temporary, "mesos", "fetch"),
    }


def _plugins() -> dict[str, str]:
    """Say which plug-ins are installed, by the flag that names them."""
    return {
        flag: f"Installed: {', '.join(names)}."
        for flag, group in _GROUPS.items()
        if (names := Group(group).names())
    }


def _refuse(loaded: LoadedFlags) -> None:
    values = loaded.values
    if values["master"] is None and values["master_detector"] is None:
        raise FlagError("Missing required option `--master` or `--master_detector`")
    if values["master"] is not None and values["master_detector"] is not None:
        raise FlagError("Only one of `--master` or `--master_detector` should be specified")
    if values["work_dir"] == "":
        raise FlagError("`--work_dir` must not be empty")


def _remarks(loaded: LoadedFlags) -> list[str]:
    """Say what was chosen and which flags have no effect."""
    remarks = []
    if "work_dir" not in loaded.given:
        remarks.append(f"No --work_dir given: using {loaded.values['work_dir']}")
    values = loaded.values
    if values["acls"] is not None and not (
        values["authenticate_http_readonly"] and values["authenticate_http_readwrite"]
    ):
        remarks.append(
            "--acls without --authenticate_http_readonly and --authenticate_http_readwrite: clients"
            " of a realm that does not authenticate have no name, only rules for ANY or NONE are"
            " about them"
        )
    for name in sorted(loaded.given & WITHOUT_EFFECT.keys()):
        if loaded.values[name] != WITHOUT_EFFECT[name]:
            remarks.append(f"Flag --{loaded.via[name]} is not implemented yet and has no effect")
    return remarks


def _work_dir(environ: Mapping[str, str]) -> str:
    """Choose a directory that survives reboots: the system's for root, else the user's."""
    if os.geteuid() == 0:
        return "/var/lib/mesos"
    state = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME", "")
    if not state.startswith("/") and home.startswith("/"):
        state = os.path.join(home, ".local", "state")
    if not state.startswith("/"):
        return os.path.join(tempfile.gettempdir(), f"mesos-{os.geteuid()}")
    return os.path.join(state, "mesos")


def _usable_cgroups() -> bool:
    """Whether the freezer is mounted or, at its usual place, version 2."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            fields = [line.split() for line in file]
    except OSError:
        return False
    return any(
        (f[2] == "cgroup" and "freezer" in f[3].split(","))
        or (f[2] == "cgroup2" and f[1] == "/sys/fs/cgroup")
        for f in fields
        if len(f) > 3
    )


def _discover(command: str) -> str:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdout=subprocess.PIPE,
            timeout=_DISCOVERY_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FlagError(f"Failed to run --ip_discovery_command: {error}") from error
    return done.stdout.decode("utf-8", "replace").strip()
