"""Runs Lua in a real, headless Neovim with the plugin."""

import os
import sys
from pathlib import Path
from typing import Any

import anyio

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

PLUGIN = Path(__file__).parents[3] / "editor-integrations" / "nvim"
NVIM = Path(sys.executable).with_name("nvim")

PRELUDE = """
local client, Chat = require("parley.client"), require("parley.chat")
client.config.cmd = { PYTHON, "-m", "parley_daemon", "stdio", "--shared" }
local notes, text = {}, nil
vim.notify = function(text) notes[#notes + 1] = text end
local function fail(text) io.stderr:write(text .. "\\n") os.exit(1) end
local function wait(what, condition)
  if not vim.wait(30000, condition, 5) then
    local about = "\\nnotes: " .. vim.inspect(notes) .. "\\n"
    fail("waited in vain for " .. what .. about .. (Chat.of(vim.api.nvim_get_current_buf()) and text() or ""))
  end
end
local function check(what, condition)
  if not condition then fail("not so: " .. what) end
end
local function chat() return Chat.of(vim.api.nvim_get_current_buf()) end
local function lines(buffer) return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\\n") end
function text() return lines(chat().transcript.buffer) end
local function prompt() return lines(chat().prompt) end
local function shows(what)
  return function() return text():find(what, 1, true) ~= nil end
end
local function count(what) return select(2, text():gsub(vim.pesc(what), "")) end
local function opened() return chat() ~= nil and chat().seq ~= nil end
local function write(line)
  vim.api.nvim_buf_set_lines(chat().prompt, 0, -1, false, vim.split(line, "\\n"))
end
local function keys(typed) vim.api.nvim_feedkeys(vim.keycode(typed), "xt", false) end
local function labels()
  local found = {}
  local buffer = chat().transcript.buffer
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buffer, -1, 0, -1, { details = true })) do
    local shown = (mark[4].virt_text or { { "" } })[1][1]
    if shown:find("tokens", 1, true) then found[#found + 1] = { row = mark[2], text = shown } end
  end
  return found
end
local function ended(count) return function() return #labels() == (count or 1) end end
"""


async def nvim(daemon: DaemonProcess, script: str) -> str:
    """Run Lua in a headless editor with the plugin; what it prints comes back. A failed check fails."""
    path = daemon.directory / "script.lua"
    prelude = PRELUDE.replace("PYTHON", f'"{sys.executable}"')
    path.write_text(f"{prelude}\n{script}\nvim.cmd('qa!')\n", "utf-8")
    env = {
        **daemon.env,
        "PATH": f"{NVIM.parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(daemon.directory),
    }
    command = [str(NVIM), "--headless", "--clean", "--cmd", f"set rtp^={PLUGIN}", "-l", str(path)]
    with anyio.fail_after(50):
        done = await anyio.run_process(command, env=env, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "stack traceback" not in said, said
    return said


async def stored(daemon: DaemonProcess) -> list[Any]:
    """Return the messages of the newest chat as the daemon has them."""
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        page = await peer.result("chat/list")
        return (await peer.result("chat/get", {"chatId": page["chats"][0]["id"]}))["messages"]
