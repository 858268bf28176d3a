"""What users of Neovim do to the buffers of a chat, and what must not come of it."""

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.neovim import nvim, stored

EDITING = [
    "u",
    "<C-r>",
    "dd",
    "ggdG",
    "ggVGd",
    "ggVGc",
    "x",
    "p",
    "P",
    "J",
    "~",
    ">>",
    "ggVGgu",
    "D",
    "S",
    "rx",
]
COMMANDS = [
    "%d",
    "%s/a/b/g",
    "g/./d",
    "1,3m$",
    "put =1",
    "undo 0",
    "earlier 10m",
    "normal! ggdG",
    "sort",
    "%!tac",
]


async def test_no_editing_of_the_transcript_changes_it_or_disables_the_chat(
    neovim_daemon: DaemonProcess,
) -> None:
    said = await nvim(
        neovim_daemon,
        f"""
        vim.cmd("Parley /tokens 1000")
        wait("the chat", opened)
        local chat, prompt_window = chat(), vim.api.nvim_get_current_win()
        local window = vim.fn.bufwinid(chat.transcript.buffer)
        for _, edit in ipairs({{ {", ".join(f'"{key}"' for key in EDITING)} }}) do
          vim.api.nvim_set_current_win(prompt_window)
          local before = text()
          wait("a piece before " .. edit, function() return text() ~= before and #text() > 40 end)
          vim.api.nvim_set_current_win(window)
          before = text()
          vim.fn.setreg('"', "junk")
          pcall(keys, edit .. "<Esc>")
          check(edit .. " changes nothing", vim.startswith(text(), before))
        end
        for _, edit in ipairs({{ {", ".join(f'"{command}"' for command in COMMANDS)} }}) do
          local before = text()
          pcall(vim.cmd --[[@as function]], "silent! " .. edit)
          check(edit .. " changes nothing", vim.startswith(text(), before))
        end
        vim.cmd("ParleyStop")
        wait("the end", ended())
        check("there is nothing to undo", vim.fn.undotree(chat.transcript.buffer).seq_last == 0)
        vim.api.nvim_set_current_win(prompt_window)
        write("/fast again")
        keys("<CR>")
        wait("the next answer", ended(2))
        io.stderr:write(text())
        """,
    )
    messages = await stored(neovim_daemon)
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert said.count(messages[1]["content"][-1]["text"]) == 1


async def test_undo_during_an_answer_takes_back_what_was_typed_and_nothing_else(
    neovim_daemon: DaemonProcess,
) -> None:
    said = await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /tokens 1000")
        wait("the chat", opened)
        wait("a piece", shows("Answer"))
        keys("ione<Esc>")
        local before = #text()
        wait("a piece in between", function() return #text() > before + 10 end)
        keys("o two<Esc>")
        check("both were typed", prompt() == "one\\n two")
        before = text()
        keys("u")
        check("the last one is gone", prompt() == "one")
        wait("a piece in between", function() return #text() > #before + 10 end)
        keys("uuuu")
        check("both are gone", prompt() == "")
        check("the transcript stays", vim.startswith(text(), before))
        keys("<C-r><C-r><C-r>")
        check("both are back", prompt() == "one\\n two")
        keys("ggdGi/fast next<Esc>")
        keys("<CR>")
        check("it is sent", prompt() == "")
        keys("u")
        check("it can be had again", prompt() == "/fast next")
        vim.cmd("ParleyStop")
        wait("both ends", ended(2))
        io.stderr:write(text())
        """,
    )
    messages = await stored(neovim_daemon)
    parts = [part for message in messages for part in message["content"]]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    shown = said.replace("\r", "")
    places = [shown.find(text) for text in texts]
    assert -1 not in places
    assert places == sorted(places)


async def test_usage_labels_stay_at_their_answers(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /fast first")
        wait("the chat", opened)
        wait("the end", ended())
        write("/tokens 30")
        keys("<CR>")
        wait("the answer", function() return count("### Answer") == 2 end)
        write("/fast third")
        keys("<CR>")
        wait("three labels", ended(3))
        local function last_lines()
          local found = {}
          for _, label in ipairs(labels()) do
            local rows = vim.api.nvim_buf_get_lines(chat().transcript.buffer, label.row, label.row + 3, false)
            check("an answer ends at " .. vim.inspect(rows), rows[2] == nil or rows[3] == "### You")
            found[#found + 1] = label.text
          end
          return table.concat(found, "|")
        end
        local before = last_lines()
        chat().seq = nil
        chat():subscribe()
        wait("all of it again", function() return chat().seq ~= nil end)
        check("they are there after it was drawn again", last_lines() == before)
        """,
    )


@pytest.mark.slow
async def test_a_reopened_chat_shows_the_tokens_of_its_answers(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /fast hello")
        wait("the chat", opened)
        wait("the end", ended())
        write("a draft")
        vim.api.nvim_buf_delete(chat().transcript.buffer, {})
        wait("the end of the chat's buffers", function() return chat() == nil end)
        vim.ui.select = function(chats, _, choose) choose(chats[1]) end
        vim.cmd("ParleyChats")
        wait("the chat", opened)
        wait("the label", ended())
        write("/fast more")
        keys("<CR>")
        wait("the end", ended(2))
        """,
    )


@pytest.mark.slow
async def test_windows_can_be_closed_and_buffers_deleted_without_losing_the_chat(
    neovim_daemon: DaemonProcess,
) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /fast hello")
        wait("the chat", opened)
        wait("the end", ended())
        local opened_chat, transcript = chat(), chat().transcript.buffer
        write("a draft")
        local function show() Chat.open(opened_chat.id) end
        vim.cmd.quit() -- the prompt
        check("the transcript stays", vim.fn.bufwinid(transcript) ~= -1)
        vim.api.nvim_set_current_win(vim.fn.bufwinid(transcript))
        keys("i")
        check("writing goes to the prompt", vim.api.nvim_get_current_buf() == opened_chat.prompt)
        check("the draft is still there", prompt() == "a draft")
        vim.api.nvim_win_close(vim.fn.bufwinid(transcript), false)
        wait("the prompt to close, too", function() return vim.fn.bufwinid(opened_chat.prompt) == -1 end)
        show()
        check("both are shown again", vim.fn.bufwinid(transcript) ~= -1 and prompt() == "a draft")
        vim.api.nvim_buf_delete(opened_chat.prompt, { force = true })
        wait("it to be gone", function() return opened_chat.prompt == nil end)
        show()
        check("a new prompt", prompt() == "")
        vim.api.nvim_win_call(vim.fn.bufwinid(transcript), function() vim.cmd("edit!") end)
        wait("the transcript again", function() return opened_chat.seq and shows("hello")() and ended()() end)
        write("/fast more")
        keys("<CR>")
        wait("the next answer", ended(2))
        vim.cmd("only")
        show()
        check("both are shown again", vim.fn.bufwinid(transcript) ~= -1)
        """,
    )


@pytest.mark.slow
async def test_the_transcript_follows_the_answer_unless_one_reads_above(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /tokens 1000")
        wait("the chat", opened)
        local window = vim.fn.bufwinid(chat().transcript.buffer)
        local function row() return vim.api.nvim_win_get_cursor(window)[1] end
        wait("a piece", shows("Answer"))
        wait("its end is shown", function() return row() == #vim.split(text(), "\\n") end)
        vim.api.nvim_win_set_cursor(window, { 1, 0 })
        local before = #text()
        wait("more", function() return #text() > before + 20 end)
        check("it does not scroll", row() == 1)
        vim.cmd("ParleyStop")
        write("/fast next")
        keys("<CR>")
        wait("the next answer", ended(2))
        check("the end is shown again", row() == #vim.split(text(), "\\n"))
        """,
    )
