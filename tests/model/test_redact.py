# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from mesos_compat.model.redact import redact
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

HIDDEN = b"hidden"


def test_secrets_lose_their_value_wherever_they_are() -> None:
    task = pb.TaskInfo(name="n", task_id=pb.TaskID(value="t"), slave_id=pb.SlaveID(value="S"))
    variable = task.command.environment.variables.add(name="v", value="plain")
    variable.secret.type = pb.Secret.VALUE
    variable.secret.value.data = HIDDEN
    volume = task.container.volumes.add(container_path="p", mode=pb.Volume.RW)
    volume.source.secret.type = pb.Secret.VALUE
    volume.source.secret.value.data = HIDDEN
    csi = volume.source.csi_volume.static_provisioning
    csi.node_stage_secrets["k"].value.data = HIDDEN
    csi.node_stage_secrets["k"].type = pb.Secret.VALUE
    assert task.SerializePartialToString().count(HIDDEN) == 3
    redact(task)
    assert HIDDEN not in task.SerializePartialToString()
    assert variable.value == "plain"
    assert csi.node_stage_secrets["k"].type == pb.Secret.VALUE


def test_references_stay() -> None:
    secret = v1.Secret(type=v1.Secret.REFERENCE, reference=v1.Secret.Reference(name="r"))
    variable = v1.Environment.Variable(name="v", secret=secret)
    redact(variable)
    assert variable.secret.reference.name == "r"


def test_messages_without_room_for_a_secret_are_left_alone() -> None:
    status = pb.TaskStatus(task_id=pb.TaskID(value="t"), state=pb.TASK_RUNNING, data=HIDDEN)
    redact(status)
    assert status.data == HIDDEN
