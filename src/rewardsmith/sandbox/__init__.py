"""Run programs that nobody has read: isolated from files, network and processes, and limited in what they use."""

from rewardsmith.sandbox.cell import Child
from rewardsmith.sandbox.programs import Answered, Limits, Program, Ran, SandboxUnavailable
from rewardsmith.sandbox.sandbox import Sandbox

__all__ = ["Answered", "Child", "Limits", "Program", "Ran", "Sandbox", "SandboxUnavailable"]
