"""Agent chats in the real editor: questions, steps, edits of open buffers, changed files."""

from pathlib import Path

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.neovim import nvim, stored

pytestmark = pytest.mark.slow

OPEN = """
local function start(lines, mode)
  local before = chat()
  require("parley").open(table.concat(lines, "\\n"), nil, mode or "ask")
  wait("the chat", function() return chat() ~= before and opened() end)
end
local function asked(count)
  return function() return chat() ~= nil and #chat().requests == (count or 1) end
end
local READ = '/tool read_file {"path": "area.py"}'
local EDIT = '/tool edit_file {"path": "area.py", "oldText": "width + height", "newText": "width * height"}'
"""


@pytest.fixture
def folder(neovim_daemon: DaemonProcess) -> Path:
    """A folder with a file that a model works on."""
    folder = neovim_daemon.directory / "project"
    folder.mkdir(exist_ok=True)
    (folder / "area.py").write_text("def area(width, height):\n    return width + height\n", "utf-8")
    return folder


async def test_a_question_is_shown_with_its_diff_and_its_rules_and_answered(
    neovim_daemon: DaemonProcess, folder: Path
) -> None:
    await nvim(
        neovim_daemon,
        f"""{OPEN}
        vim.cmd.cd("{folder}")
        start({{ "/fast", READ, "/then", EDIT }})
        wait("the question", asked())
        check("the diff", shows("-    return width + height\\n+    return width * height")())
        check("a rule", shows(":ParleyAlways stores: allow edit_file in")())
        check("its scope", shows("area.py — in this chat")())
        wait("the reason", shows("In the mode ask, you are asked before files are changed."))
        check("nothing is written yet", vim.fn.readfile("area.py")[2] == "    return width + height")
        vim.cmd("ParleyAllow")
        wait("the end", ended())
        check("the steps", shows("✓ read_file  area.py")() and shows("✓ edit_file  area.py")())
        check("one heading", count("### Answer") == 1)
        check("how it was answered", shows("allowed")() and asked(0)())
        check("it is written", vim.fn.readfile("area.py")[2] == "    return width * height")
        chat():redraw()
        wait("all of it again", function() return chat().seq ~= nil and ended()() end)
        check("the steps are there once", count("✓ edit_file") == 1)
        vim.cmd("ParleyAllow")
        check("nothing is asked", notes[#notes]:find("Nothing is asked", 1, true) ~= nil)
        """,
    )


async def test_a_denial_has_a_reason_and_a_question_gets_words(
    neovim_daemon: DaemonProcess, folder: Path
) -> None:
    await nvim(
        neovim_daemon,
        f"""{OPEN}
        vim.cmd.cd("{folder}")
        start({{ "/fast", '/tool read_file {{"path": "/etc/hostname"}}', "/then",
          '/tool ask_user {{"questions": [{{"text": "Which?", "options": ["one", "two"]}}, ' ..
          '{{"text": "Why?"}}]}}' }})
        wait("the question", asked())
        vim.cmd("ParleyDeny look at home instead")
        wait("its end", shows("✗ read_file  /etc/hostname · not allowed"))
        wait("the next question", asked())
        vim.ui.select = function(items, options, choose)
          check("the options", vim.deep_equal(items, {{ "one", "two", "(something else)" }}))
          choose(items[2], 2)
        end
        vim.ui.input = function(_, take) take("because") end
        vim.cmd("ParleyAllow")
        wait("the end", ended())
        """,
    )
    results = [part for message in await stored(neovim_daemon) for part in message["content"]]
    texts = [str(part["result"]) for part in results if part["type"] == "tool-result"]
    assert "look at home instead" in texts[0]
    assert "two" in texts[1] and "because" in texts[1]


async def test_a_rule_is_chosen_and_then_nothing_is_asked(neovim_daemon: DaemonProcess, folder: Path) -> None:
    await nvim(
        neovim_daemon,
        f"""{OPEN}
        vim.cmd.cd("{folder}")
        start({{ "/fast", READ, "/then", EDIT, "/then", READ, "/then",
          '/tool edit_file {{"path": "area.py", "oldText": "width * height", "newText": "twice"}}' }})
        wait("the question", asked())
        local offered
        vim.ui.select = function(rules, options, choose)
          offered = vim.tbl_map(options.format_item, rules)
          choose(rules[1])
        end
        vim.cmd("ParleyAlways")
        wait("the end", ended())
        local first = offered[1]
        check("the rule: " .. first, first:find("area.py — in this chat", 1, true) ~= nil)
        check("both ran", count("✓ edit_file") == 2)
        """,
    )


async def test_an_open_buffer_is_edited_in_the_editor_and_u_takes_it_back(
    neovim_daemon: DaemonProcess, folder: Path
) -> None:
    await nvim(
        neovim_daemon,
        f"""{OPEN}
        vim.cmd.cd("{folder}")
        vim.cmd.edit("area.py")
        local source = vim.api.nvim_get_current_buf()
        local function line() return vim.api.nvim_buf_get_lines(source, 1, 2, false)[1] end
        start({{ "/fast", READ, "/then", EDIT }}, "edits")
        wait("the end", ended())
        check("the edit: " .. line(), line() == "    return width * height")
        check("it is written", vim.fn.readfile("area.py")[2] == line() and not vim.bo[source].modified)
        vim.api.nvim_buf_call(source, function() vim.cmd("silent undo") end)
        check("it is undone", line() == "    return width + height")
        -- What is not saved is the user's: the model sees it, and it is not written.
        vim.api.nvim_buf_set_lines(source, 0, 0, false, {{ "# mine" }})
        start({{ "/fast", READ, "/then", EDIT }}, "edits")
        wait("the end", ended())
        check("what was not saved", shows("✓ edit_file")())
        local third = vim.api.nvim_buf_get_lines(source, 2, 3, false)[1]
        check("it is edited", third == "    return width * height")
        check("it is not written", vim.fn.readfile("area.py")[1] ~= "# mine" and vim.bo[source].modified)
        """,
    )


async def test_an_edit_of_an_outdated_or_read_only_buffer_is_refused(
    neovim_daemon: DaemonProcess, folder: Path
) -> None:
    await nvim(
        neovim_daemon,
        f"""{OPEN}
        local editing = require("parley.editing")
        vim.cmd.edit("{folder}/area.py")
        local source = vim.api.nvim_get_current_buf()
        client.attach(source)
        wait("the daemon to know it", function() return vim.lsp.util.buf_versions[source] ~= nil end)
        local function apply(version)
          local edits = {{ {{ newText = "x", range = {{ start = {{ line = 0, character = 0 }},
            ["end"] = {{ line = 0, character = 0 }} }} }} }}
          local document = {{ uri = vim.uri_from_bufnr(source), version = version }}
          local change = {{ textDocument = document, edits = edits }}
          return editing.apply({{ edit = {{ documentChanges = {{ change }} }} }}, "utf-16", true)
        end
        local before = table.concat(vim.api.nvim_buf_get_lines(source, 0, -1, false))
        local version = vim.lsp.util.buf_versions[source]
        check("outdated", apply(version - 1).failureReason:find("changed meanwhile", 1, true) ~= nil)
        vim.bo[source].readonly = true
        check("read-only", apply(version).failureReason:find("read%-only") ~= nil)
        check("nothing was changed", table.concat(vim.api.nvim_buf_get_lines(source, 0, -1, false)) == before)
        vim.bo[source].readonly = false
        check("no version", editing.apply({{ edit = {{ changes = {{}} }} }}, "utf-16", true).applied == false)
        check("it is applied", apply(version).applied)
        """,
    )


async def test_files_that_were_changed_on_disk_are_read_again_unless_they_are_being_edited(
    neovim_daemon: DaemonProcess, folder: Path
) -> None:
    (folder / "other.py").write_text("one\n", "utf-8")
    await nvim(
        neovim_daemon,
        f"""{OPEN}
        vim.cmd.edit("{folder}/area.py")
        local area = vim.api.nvim_get_current_buf()
        vim.cmd.edit("{folder}/other.py")
        local other = vim.api.nvim_get_current_buf()
        vim.api.nvim_buf_set_lines(other, 0, -1, false, {{ "mine" }})
        for _, name in ipairs({{ "area.py", "other.py" }}) do
          vim.fn.writefile({{ "theirs, which is longer" }}, "{folder}/" .. name)
        end
        require("parley.agent").reload({{
          {{ path = vim.uri_from_bufnr(area) }}, {{ path = vim.uri_from_bufnr(other) }},
          {{ path = "file:///nowhere/else" }},
        }})
        check("it is read again: " .. lines(area), lines(area) == "theirs, which is longer")
        check("what is being edited stays", lines(other) == "mine")
        check("it is told", #notes == 1 and notes[1]:find("other.py was changed on disk", 1, true) ~= nil)
        """,
    )


async def test_what_is_asked_shows_every_invisible_character(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        local agent = require("parley.agent")
        local marks = agent.visible("a\\u{202e}b\\u{200b}c\\u{2066}\\u{feff}")
        check("marks", marks == "a<U+202E>b<U+200B>c<U+2066><U+FEFF>")
        local blanks = agent.visible("a\\u{e0041}b\\u{3164}c\\u{a0}d\\u{fe0f}e\\u{9b}f")
        check("blanks: " .. blanks, blanks == "a<U+E0041>b<U+3164>c<U+00A0>d<U+FE0F>e<U+009B>f")
        check("controls", agent.visible("a\\27[2Jb\\0c\\td\\ne\\rf") == "a<1B>[2Jb<00>c\\td\\ne<0D>f")
        check("text", agent.visible("größe 文字 🙂") == "größe 文字 🙂")
        local preview = vim.defaulttable(function() return vim.NIL end)
        preview.command = "echo ```\\n````\\nrm"
        local shown = agent.describe_request({ title = "T", preview = preview, rules = {} })
        local fence = "`````"
        local block = fence .. "sh\\necho ```\\n````\\nrm\\n" .. fence
        check("the fence is longer: " .. shown, shown:find(block, 1, true) ~= nil)
        """,
    )
