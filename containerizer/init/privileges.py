# SPDX-License-Identifier: Apache-2.0
"""Who the command runs as: resource limits, system call filter, user, capabilities.

Everything about users is looked up on the host, before the root is entered.

Source: spec ``containerizer`` 8.2 (13, 14, 17, 19-22); ``isolators-resources`` 10.1, 15.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from containerizer.init.failure import LaunchFailure, failure
from containerizer.init.seccomp import Filters, translate_apart
from containerizer.init.spec import LaunchSpec, ResourceLimit
from containerizer.linux import caps, prctl, seccomp, users
from containerizer.linux.users import Identity

#: Numbers of the kernel's common architectures; Python does not name all of them.
RLIMITS: Mapping[str, int] = {
    "RLMT_CPU": 0,
    "RLMT_FSIZE": 1,
    "RLMT_DATA": 2,
    "RLMT_STACK": 3,
    "RLMT_CORE": 4,
    "RLMT_RSS": 5,
    "RLMT_NPROC": 6,
    "RLMT_NOFILE": 7,
    "RLMT_MEMLOCK": 8,
    "RLMT_AS": 9,
    "RLMT_LOCKS": 10,
    "RLMT_SIGPENDING": 11,
    "RLMT_MSGQUEUE": 12,
    "RLMT_NICE": 13,
    "RLMT_RTPRIO": 14,
    "RLMT_RTTIME": 15,
}
_UNLIMITED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Privileges:
    """What is to be given up, gathered while the host's files are still in sight."""

    #: ``None`` if the user stays as it is; supplementary groups are not applied then.
    identity: Identity | None
    effective: int | None
    bounding: int | None
    last_capability: int
    no_new_privileges: bool | None
    filters: Filters | None = None

    @property
    def restricted(self) -> bool:
        """Whether there are capabilities to give up."""
        return self.effective is not None or self.bounding is not None

    def __bool__(self) -> bool:
        """Whether anything changes at all."""
        return (
            self.identity is not None
            or self.restricted
            or self.no_new_privileges is not None
            or self.filters is not None
        )

    def encode(self) -> bytes:
        """Write it for another process of the same container."""
        fields = asdict(replace(self, filters=None))
        if self.filters is not None:
            fields["filters"] = self.filters.document()
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, data: bytes) -> Privileges:
        """Read what ``encode`` wrote."""
        fields = json.loads(data)
        if (identity := fields["identity"]) is not None:
            fields["identity"] = Identity(
                identity["uid"], identity["gid"], tuple(identity["groups"])
            )
        if (filters := fields["filters"]) is not None:
            fields["filters"] = Filters.of(filters)
        return cls(**fields)

    def of_init(self) -> Privileges:
        """Return what the init of the command gives up."""
        if self.filters is None:
            return self
        return replace(self, filters=replace(self.filters, command=self.filters.init))

    def without_filters(self) -> Privileges:
        """Return the rest."""
        return replace(self, filters=None)


def gather(spec: LaunchSpec) -> Privileges:
    """Look up the user and the kernel's capabilities. Raises LaunchFailure."""
    made = Privileges(
        identity=_identity(spec),
        effective=spec.effective_capabilities,
        bounding=spec.bounding_capabilities,
        last_capability=0,
        no_new_privileges=spec.no_new_privileges,
    )
    if made.restricted or spec.seccomp_profile is not None:
        try:
            made = replace(made, last_capability=caps.last())
        except OSError as error:
            raise failure("Failed to initialize capabilities manager", error) from error
    return replace(made, filters=_filters(spec, made))


def confine(program: bytes) -> None:
    """Put a system call filter on this process for ever. Raises LaunchFailure."""
    try:
        seccomp.install(program)
    except OSError as error:
        raise failure("Failed to load Seccomp filter", error) from error


def set_limits(limits: Sequence[ResourceLimit]) -> None:
    """Apply resource limits in order. Raises LaunchFailure."""
    for limit in limits:
        number = RLIMITS.get(limit.type)
        if number is None:
            raise LaunchFailure(f"Failed to set {limit.type} limit: Unknown resource type")
        if (limit.soft is None) != (limit.hard is None):
            raise LaunchFailure(f"Failed to set {limit.type} limit: Invalid rlimit values")
        values = (_limit(limit.soft), _limit(limit.hard))
        try:
            resource.setrlimit(number, values)
        except OSError as error:
            raise failure(f"Failed to set {limit.type} limit", error) from error
        except (ValueError, OverflowError) as error:
            raise LaunchFailure(f"Failed to set {limit.type} limit: {error}") from error


def give_up(privileges: Privileges) -> None:
    """Filter system calls, switch the user, restrict capabilities. Raises LaunchFailure.

    The filter comes first because it needs CAP_SYS_ADMIN; it has to allow the rest.
    """
    if privileges.filters is not None:
        confine(privileges.filters.command)
    if privileges.identity is not None:
        if privileges.restricted:
            prctl.set_keep_capabilities(True)
        _become(privileges.identity)
    if privileges.restricted:
        try:
            _restrict(privileges)
        except OSError as error:
            raise failure("Failed to set process capabilities", error) from error
        except ValueError as error:
            raise LaunchFailure(f"Failed to set process capabilities: {error}") from error
    if privileges.no_new_privileges is not None:
        try:
            _set_no_new_privileges(privileges.no_new_privileges)
        except OSError as error:
            raise failure("Failed to set NO_NEW_PRIVS", error) from error


def settle_without_exec(privileges: Privileges) -> None:
    """Do to this process what an exec would: for programs that run in place.

    Without it the permitted capabilities kept across the change of user would stay. But nobody of
    the same user may look into it or take it over: it is more than a command.
    """
    try:
        if privileges.restricted:
            sets = caps.after_exec(caps.get(privileges.last_capability), os.geteuid())
            caps.set_process(sets.effective, sets.permitted, sets.inheritable)
            prctl.set_keep_capabilities(False)
        prctl.set_dumpable(False)
    except OSError as error:
        raise failure("Failed to set process capabilities", error) from error


def _filters(spec: LaunchSpec, made: Privileges) -> Filters | None:
    if spec.seccomp_filters is not None or spec.seccomp_profile is None:
        return spec.seccomp_filters
    bounding = made.effective if made.bounding is None else made.bounding
    if bounding is None:
        bounding = caps.get(made.last_capability).bounding
    return translate_apart(spec.seccomp_profile, bounding)


def _identity(spec: LaunchSpec) -> Identity | None:
    if spec.user is None:
        return None
    numbers = users.of_numbers(spec.user)
    if numbers is not None:
        groups = dict.fromkeys((*numbers.groups, *spec.supplementary_groups))
        return replace(numbers, groups=tuple(groups))
    uid = users.uid_of(spec.user)
    if uid is None:
        raise LaunchFailure(f"Failed to get the uid of user '{spec.user}': not found")
    if uid == os.geteuid():
        return None
    identity = users.identity_of(spec.user)
    if identity is None:
        raise LaunchFailure(f"Failed to get the gid of user '{spec.user}': not found")
    groups = dict.fromkeys((*identity.groups, *spec.supplementary_groups))
    return replace(identity, groups=tuple(groups))


def _limit(value: int | None) -> int:
    return resource.RLIM_INFINITY if value is None or value == _UNLIMITED else value


def _become(identity: Identity) -> None:
    try:
        os.setgid(identity.gid)
    except OSError as error:
        raise failure("Failed to set gid", error) from error
    try:
        os.setgroups(identity.groups)
    except OSError as error:
        raise failure("Failed to set groups", error) from error
    try:
        os.setuid(identity.uid)
    except OSError as error:
        raise failure("Failed to set uid", error) from error


def _restrict(privileges: Privileges) -> None:
    last = privileges.last_capability
    sets = caps.get(last)
    # The change of user cleared the effective set; dropping from the bounding set needs this one.
    sets = replace(sets, effective=sets.effective | caps.mask(["SETPCAP"]))
    caps.set_process(sets.effective, sets.permitted, sets.inheritable)
    if privileges.effective is not None:
        wanted = privileges.effective
        sets = caps.CapabilitySets(wanted, wanted, wanted, wanted, wanted)
    if privileges.bounding is not None:
        sets = replace(sets, bounding=privileges.bounding)
    caps.apply(replace(sets, inheritable=sets.bounding), last)


def _set_no_new_privileges(on: bool) -> None:
    if on:
        prctl.set_no_new_privileges(True)
        return
    # The kernel cannot switch it off; saying that it is off is no error.
