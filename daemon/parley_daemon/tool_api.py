"""The public API for packages that bring tools.

Promise of stability: what this module exports keeps its name and its meaning within a minor version of
parleyd (0.2.x), and CHANGELOG.md announces every incompatible change. Everything else in `parley_daemon` may
change at any time. A package imports from here only; docs/tools.md has a complete example.

- A tool that is one function: `tool` makes a `FunctionTool` of it, or raises `ToolDefinitionError`. `ToolRun`
  is what the function gets beside its arguments.
- What a call returns: any JSON value, parts (`text_part`, `file_part`), or a `ToolOutput`. What it raises:
  `ToolInputError` about the arguments, `ToolFailedError` about everything else.
- A tool that decides itself what a call is about: `Tool`, `ToolSpec`, `ToolKind`, `Inspection`, `Preview`,
  `PathUse`, `CallContext`, `Workspace`, `CallMonitor`, `FileChange`, `Answer`; `input_schema` and
  `read_arguments` for structs of arguments.
- A test without a daemon: `try_tool` returns a `Trial`.
"""

from parley_daemon.adapters.tools.packages.definition import FunctionTool, ToolDefinitionError, tool
from parley_daemon.adapters.tools.packages.outputs import file_part, text_part
from parley_daemon.adapters.tools.packages.protocol import CallMonitor, Tool
from parley_daemon.adapters.tools.packages.running import ToolRun
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import (
    FileChange,
    Inspection,
    PathUse,
    Preview,
    ToolKind,
    ToolOutput,
    ToolSpec,
)
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, ToolFailedError, ToolInputError, Workspace
from parley_daemon.tool_trial import Trial, try_tool

__all__ = [
    "Answer",
    "CallContext",
    "CallMonitor",
    "FileChange",
    "FunctionTool",
    "Inspection",
    "PathUse",
    "Preview",
    "Tool",
    "ToolDefinitionError",
    "ToolFailedError",
    "ToolInputError",
    "ToolKind",
    "ToolOutput",
    "ToolRun",
    "ToolSpec",
    "Trial",
    "Workspace",
    "file_part",
    "input_schema",
    "read_arguments",
    "text_part",
    "tool",
    "try_tool",
]
