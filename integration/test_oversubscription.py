# SPDX-License-Identifier: Apache-2.0
"""Real masters offer what the fixed estimator promises; the load controller takes it back."""

import asyncio
import json

import pytest

from integration.scene import Scene
from mesos_compat.cli.connect import peer_of
from mesos_compat.libprocess.http_client import HttpClient
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.scheduler import scheduler_pb2 as api
from mesos_compat.v1.scheduler_client import SchedulerClient

pytestmark = pytest.mark.integration

MODULES = {
    "libraries": [
        {
            "modules": [
                {
                    "name": "org_apache_mesos_FixedResourceEstimator",
                    "parameters": [{"key": "resources", "value": "cpus:7;mem:512"}],
                },
                {
                    "name": "org_apache_mesos_LoadQoSController",
                    "parameters": [{"key": "load_threshold_5min", "value": "-1"}],
                },
            ]
        }
    ]
}


async def preempted(master: str) -> tuple[float, v1.TaskStatus]:
    """Run a task on revocable resources; return what was offered, and how the task ended."""
    framework = v1.FrameworkInfo(user="root", name="revocable")
    framework.capabilities.add(type="REVOCABLE_RESOURCES")
    offered = 0.0
    async with HttpClient() as http, asyncio.timeout(60):
        client = SchedulerClient(http, peer_of(master))
        framework_id = v1.FrameworkID()
        async for event in client.subscribe(framework):
            if event.type == api.Event.SUBSCRIBED:
                framework_id.CopyFrom(event.subscribed.framework_id)
            for offer in event.offers.offers:
                found = {r.name: r for r in offer.resources if r.HasField("revocable")}
                if not found or offered:
                    call = api.Call(type=api.Call.DECLINE, framework_id=framework_id)
                    call.decline.offer_ids.append(offer.id)
                    call.decline.filters.refuse_seconds = 0.0
                    await client.call(call)
                    continue
                offered = found["cpus"].scalar.value
                call = api.Call(type=api.Call.ACCEPT, framework_id=framework_id)
                call.accept.offer_ids.append(offer.id)
                operation = call.accept.operations.add(type=v1.Offer.Operation.LAUNCH)
                task = operation.launch.task_infos.add(name="t", agent_id=offer.agent_id)
                task.task_id.value = "t"
                task.command.value = "sleep 1000"
                for name, amount in (("cpus", 1.0), ("mem", 64.0)):
                    found[name].scalar.value = amount
                    task.resources.append(found[name])
                await client.call(call)
            status = event.update.status
            if status.HasField("uuid"):
                call = api.Call(type=api.Call.ACKNOWLEDGE, framework_id=framework_id)
                call.acknowledge.agent_id.CopyFrom(status.agent_id)
                call.acknowledge.task_id.CopyFrom(status.task_id)
                call.acknowledge.uuid = status.uuid
                await client.call(call)
            if event.type == api.Event.UPDATE and status.state == v1.TASK_LOST:
                await client.call(api.Call(type=api.Call.TEARDOWN, framework_id=framework_id))
                return offered, status
    raise AssertionError("the master ended the stream")


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
async def test_a_task_on_revocable_resources_is_preempted(scene: Scene, version: str) -> None:
    master = scene.master(version)
    scene.agent(
        master,
        modules=json.dumps(MODULES),
        resource_estimator="org_apache_mesos_FixedResourceEstimator",
        oversubscribed_resources_interval="500ms",
        qos_controller="org_apache_mesos_LoadQoSController",
        qos_correction_interval_min="1secs",
    )
    offered, status = await preempted(master.address)
    assert offered == 7.0
    assert status.reason == v1.TaskStatus.REASON_CONTAINER_PREEMPTED
    assert status.message.startswith("Container preempted by QoS correction")
    assert master.running
