// SPDX-License-Identifier: Apache-2.0

// An executor on the driver of mesos-go, which speaks libprocess messages: tasks run until they are
// killed or a message says "finish TASK"; other messages are answered. Its output tells what it got.
package main

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/gogo/protobuf/proto"
	"github.com/mesos/mesos-go/api/v0/executor"
	"github.com/mesos/mesos-go/api/v0/mesosproto"
)

type talker struct{}

func say(words ...interface{}) {
	fmt.Println(words...)
}

func report(driver executor.ExecutorDriver, task string, state mesosproto.TaskState) {
	status := &mesosproto.TaskStatus{
		TaskId: &mesosproto.TaskID{Value: proto.String(task)},
		State:  state.Enum(),
	}
	if _, err := driver.SendStatusUpdate(status); err != nil {
		say("failed", task, state, err)
	}
}

func (talker) Registered(_ executor.ExecutorDriver, info *mesosproto.ExecutorInfo,
	framework *mesosproto.FrameworkInfo, agent *mesosproto.SlaveInfo) {
	say("registered", info.GetExecutorId().GetValue(), framework.GetName(), agent.GetHostname())
}

func (talker) Reregistered(_ executor.ExecutorDriver, agent *mesosproto.SlaveInfo) {
	say("reregistered", agent.GetHostname())
}

func (talker) Disconnected(executor.ExecutorDriver) {
	say("disconnected")
}

func (talker) LaunchTask(driver executor.ExecutorDriver, task *mesosproto.TaskInfo) {
	name := task.GetTaskId().GetValue()
	say("launch", name)
	report(driver, name, mesosproto.TaskState_TASK_RUNNING)
}

func (talker) KillTask(driver executor.ExecutorDriver, task *mesosproto.TaskID) {
	say("kill", task.GetValue())
	report(driver, task.GetValue(), mesosproto.TaskState_TASK_KILLED)
}

func (talker) FrameworkMessage(driver executor.ExecutorDriver, data string) {
	say("message", data)
	if task := strings.TrimPrefix(data, "finish "); task != data {
		report(driver, task, mesosproto.TaskState_TASK_FINISHED)
	} else if _, err := driver.SendFrameworkMessage("you said " + data); err != nil {
		say("failed", err)
	}
}

func (talker) Shutdown(executor.ExecutorDriver) {
	say("shutdown")
}

func (talker) Error(_ executor.ExecutorDriver, message string) {
	say("error", message)
}

func main() {
	driver, err := executor.NewMesosExecutorDriver(executor.DriverConfig{
		Executor:       talker{},
		BindingAddress: net.ParseIP(os.Getenv("LIBPROCESS_IP")),
	})
	if err == nil {
		_, err = driver.Run()
	}
	say("over", err)
}
