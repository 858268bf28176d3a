"""`:ParleyMcp` and `:ParleyAgents` in the real editor, with the stub server and the demo model."""

import json
from pathlib import Path

import pytest

from tests.support.mcp.stub import StubLog, stub_command
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.neovim import nvim

pytest.importorskip("mcp", reason="the extra parleyd[mcp] is not installed")
pytestmark = pytest.mark.slow

CHOOSE = """
local shown, wanted = {}, {}
vim.ui.select = function(items, options, choose)
  local lines = vim.tbl_map(options.format_item, items)
  table.insert(shown, lines)
  local want = table.remove(wanted, 1)
  for index, line in ipairs(lines) do
    if want and line:find(want, 1, true) then
      return choose(items[index], index)
    end
  end
end
local function noted(text)
  return function() return notes[#notes] ~= nil and notes[#notes]:find(text, 1, true) ~= nil end
end
"""


async def test_the_server_of_a_project_is_trusted_and_started(
    neovim_daemon: DaemonProcess, tmp_path: Path
) -> None:
    command, *args = stub_command(StubLog(tmp_path / "log"))
    servers = {"mcpServers": {"theirs": {"command": command, "args": args}}}
    (tmp_path / ".mcp.json").write_text(json.dumps(servers), "utf-8")
    await nvim(
        neovim_daemon,
        f"""{CHOOSE}
        vim.cmd.cd("{tmp_path}")
        wanted = {{ "theirs  waits for trust", "Trust" }}
        vim.cmd("ParleyMcp")
        wait("trust", noted("theirs  not started yet"))
        wanted = {{ "theirs", "Start" }}
        vim.cmd("ParleyMcp")
        wait("the start", noted("theirs  running, "))
        """,
    )
    assert (tmp_path / "log").exists()


async def test_agents_are_listed_opened_and_stopped(neovim_daemon: DaemonProcess, tmp_path: Path) -> None:
    await nvim(
        neovim_daemon,
        f"""{CHOOSE}
        vim.cmd.cd("{tmp_path}")
        local task = '{{"task": "/slow a long story", "background": true}}'
        require("parley").open("/fast /tool spawn_agent " .. task, nil, "ask")
        wait("the end", function() return chat() ~= nil and ended()() end)
        wanted = {{ "running  /slow a long story", "Stop" }}
        vim.cmd("ParleyAgents")
        wait("the choices", function() return #shown == 2 end)
        check("the actions", vim.deep_equal(shown[2], {{ "Open", "Stop" }}))
        wait("its end", function()
          wanted = {{}}
          vim.cmd("ParleyAgents")
          vim.wait(50)
          return shown[#shown][1]:find("interrupted", 1, true) ~= nil
        end)
        local parent = chat().id
        wanted = {{ "interrupted", "Open" }}
        vim.cmd("ParleyAgents")
        wait("the agent's chat", function() return chat() ~= nil and chat().id ~= parent and opened() end)
        check("what it was asked", shows("/slow a long story")())
        """,
    )


async def test_a_form_of_a_server_is_shown_and_filled_in(
    neovim_daemon: DaemonProcess, tmp_path: Path
) -> None:
    command, *args = stub_command(StubLog(tmp_path / "log"))
    servers = {"mcpServers": {"shop": {"command": command, "args": args}}}
    (tmp_path / ".mcp.json").write_text(json.dumps(servers), "utf-8")
    await nvim(
        neovim_daemon,
        f"""{CHOOSE}
        vim.cmd.cd("{tmp_path}")
        wanted = {{ "shop  waits for trust", "Trust" }}
        vim.cmd("ParleyMcp")
        wait("trust", noted("shop  not started yet"))
        require("parley").open("/fast /tool mcp__shop__ask {{}}", nil, "ask")
        wait("the call", function() return chat() ~= nil and #chat().requests == 1 end)
        vim.cmd("ParleyAllow")
        wait("the form", shows("Who are you?"))
        check("its field", shows("1. **name**")())
        local prompts = {{}}
        vim.ui.input = function(options, take)
          table.insert(prompts, options.prompt)
          take("Ada")
        end
        vim.cmd("ParleyAllow")
        wait("the end", ended())
        check("the field was asked for: " .. vim.inspect(prompts), prompts[1]:find("^name") ~= nil)
        check("what the server got", shows("Ada")())
        """,
    )


async def test_the_answer_to_an_agent_in_the_background_stands_below_the_turn(
    neovim_daemon: DaemonProcess, tmp_path: Path
) -> None:
    await nvim(
        neovim_daemon,
        f"""
        vim.cmd.cd("{tmp_path}")
        local call = '/fast /tool ask_user {{"questions": [{{"text": "Why?"}}]}}'
        local task = vim.json.encode({{ task = call, background = true }})
        require("parley").open("/fast /tool spawn_agent " .. task, nil, "ask")
        wait("the chat", opened)
        wait("the end", ended())
        wait("the question", function() return #chat().requests == 1 end)
        vim.ui.input = function(_, take) take("because") end
        vim.cmd("ParleyAllow")
        wait("the answer", shows("Why?: allowed"))
        local buffer, last = chat().transcript.buffer, nil
        for line, text in ipairs(vim.api.nvim_buf_get_lines(buffer, 0, -1, false)) do
          last = text:find("Why?: allowed", 1, true) and line - 1 or last
        end
        check("the line of the answer", last ~= nil)
        for _, space in pairs(vim.api.nvim_get_namespaces()) do
          local options = {{ details = true }}
          for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buffer, space, 0, -1, options)) do
            check("the usage is not beside it", not (mark[4].virt_text and mark[2] == last))
          end
        end
        """,
    )


async def test_prompts_and_resources_of_a_server_are_sent(
    neovim_daemon: DaemonProcess, tmp_path: Path
) -> None:
    command, *args = stub_command(StubLog(tmp_path / "log"))
    servers = {"mcpServers": {"shop": {"command": command, "args": args}}}
    (tmp_path / ".mcp.json").write_text(json.dumps(servers), "utf-8")
    await nvim(
        neovim_daemon,
        f"""{CHOOSE}
        vim.cmd.cd("{tmp_path}")
        wanted = {{ "shop  waits for trust", "Trust" }}
        vim.cmd("ParleyMcp")
        wait("trust", noted("shop  not started yet"))
        require("parley").open("/fast /tokens 2 @other:thing stays a text", nil, "ask")
        wait("the first answer", function() return chat() ~= nil and ended()() end)
        wanted = {{ "@shop:stub://note" }}
        vim.cmd("ParleyResources")
        wait("the name", function() return prompt() == "@shop:stub://note " end)
        write("/tokens 2 what is @shop:stub://note?")
        keys("<C-s>")
        wait("the answer about it", ended(2))
        check("the source is shown", shows("a note")() or shows("](@shop:stub://note)")())
        write("this is @shop:stub://no-such")
        keys("<C-s>")
        wait("the text comes back", function() return prompt() == "this is @shop:stub://no-such" end)
        local asked, typed = {{}}, {{ "Ada", "" }}
        vim.ui.input = function(options, take)
          table.insert(asked, options.prompt)
          take(table.remove(typed, 1))
        end
        wanted = {{ "/shop:greet" }}
        vim.cmd("ParleyPrompts")
        wait("the prompt's text", shows("Greet Ada."))
        check("its arguments: " .. vim.inspect(asked), asked[1] == "name, Whom: " and #asked == 2)
        wanted = {{ "/shop:greet" }}
        typed = {{ "" }}
        vim.cmd("ParleyPrompts")
        wait("what is missing", noted("name is needed. Nothing was sent."))
        """,
    )
