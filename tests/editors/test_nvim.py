"""The Neovim plugin, in the real editor, against a real daemon."""

import sys

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.neovim import PLUGIN, nvim, stored
from tests.support.processes.raw_client import unix_peer


async def test_an_answer_streams_into_the_buffer_and_what_is_being_written_stays(
    neovim_daemon: DaemonProcess,
) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /tokens 40")
        wait("the chat", opened)
        wait("a first piece", shows("Answer"))
        check("it has not ended yet", not ended()())
        write("half a thought")
        local before = #text()
        wait("more text", function() return #text() > before + 20 end)
        wait("the end", ended())
        check("the question stands there once", count("/tokens 40") == 1)
        check("what is being written is still there", prompt() == "half a thought")
        """,
    )


async def test_what_is_written_in_the_prompt_is_sent(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley")
        wait("the chat", opened)
        write("/fast first line\\nsecond line")
        keys("<CR>")
        wait("the end", ended())
        check("the prompt is empty", prompt() == "")
        """,
    )
    messages = await stored(neovim_daemon)
    assert messages[0]["content"] == [{"type": "text", "text": "/fast first line\nsecond line"}]
    assert messages[0]["origin"] == "nvim"


async def test_an_interrupted_answer_keeps_what_had_come(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /slow 100")
        wait("the chat", opened)
        wait("a piece", shows("Answer"))
        vim.cmd("ParleyStop")
        wait("the end", shows("*cut short*"))
        """,
    )
    assert (await stored(neovim_daemon))[-1]["complete"] is False


@pytest.mark.slow
async def test_an_answer_goes_on_in_another_editor_after_the_first_one_was_closed(
    neovim_daemon: DaemonProcess,
) -> None:
    await nvim(
        neovim_daemon,
        'vim.cmd("Parley /tokens 60") wait("the chat", opened) wait("a piece", shows("Answer"))',
    )
    await nvim(
        neovim_daemon,
        """
        vim.ui.select = function(chats, options, choose)
          check("the chat is described", options.format_item(chats[1]):find("/tokens 60", 1, true) ~= nil)
          choose(chats[1])
        end
        vim.cmd("ParleyChats")
        wait("the chat", opened)
        wait("the end", ended())
        io.stderr:write(text())
        """,
    )
    said = await nvim(
        neovim_daemon,
        """
        vim.ui.select = function(chats, _, choose) choose(chats[1]) end
        vim.cmd("ParleyChats")
        wait("the chat", opened)
        io.stderr:write(text())
        """,
    )
    answer = (await stored(neovim_daemon))[-1]
    assert answer["complete"] is True
    for part in answer["content"]:
        if part["type"] == "text":
            assert said.count(part["text"]) == 1


async def test_a_selection_goes_along_as_it_is_in_the_buffer(neovim_daemon: DaemonProcess) -> None:
    source = neovim_daemon.directory / "code.py"
    source.write_text("one\ntwo\nthree\n", "utf-8")
    await nvim(
        neovim_daemon,
        f"""
        vim.cmd.edit("{source}")
        vim.api.nvim_buf_set_lines(0, 1, 2, false, {{ "two, not saved" }})
        vim.cmd("2,3Parley /fast explain this")
        wait("the chat", opened)
        wait("the end", ended())
        """,
    )
    question = (await stored(neovim_daemon))[0]["content"]
    assert question[1]["text"] == "two, not saved\nthree\n"
    assert (question[1]["startLine"], question[1]["endLine"]) == (2, 3)


async def test_edits_of_an_open_buffer_reach_the_daemon_as_they_are_in_the_editor(
    neovim_daemon: DaemonProcess,
) -> None:
    source = neovim_daemon.directory / "page.txt"
    source.write_bytes("ä😀 one\fpage\r\ntwo\u2028\r\nthree\r\n".encode())
    said = await nvim(
        neovim_daemon,
        f"""
        vim.o.showmode = false
        vim.cmd("edit ++ff=dos {source}")
        local source = vim.api.nvim_get_current_buf()
        vim.cmd("1,3Parley /fast first")
        wait("the chat", opened)
        wait("the end", ended())
        vim.api.nvim_set_current_win(vim.fn.bufwinid(source))
        keys("ggfpcwP😀<Esc>jA!ö<Esc>ggyyp0fod$jddGoé\\u{{1d11e}}<Esc>0x")
        io.stderr:write(table.concat(vim.api.nvim_buf_get_lines(source, 0, -1, false), "|"))
        vim.cmd("%Parley /fast second")
        wait("the chat", opened)
        wait("the end", ended())
        """,
    )
    question = (await stored(neovim_daemon))[0]["content"]
    assert question[0]["text"] == "/fast second"
    assert question[1]["text"] == said.replace("|", "\r\n") + "\r\n"
    assert said.startswith("ä😀 one\fP😀|ä😀 |")


@pytest.mark.slow
async def test_a_failed_turn_is_told_in_a_sentence(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /fast /error auth")
        wait("the chat", opened)
        wait("the end", shows("*cut short*"))
        check("nothing else was told", #notes == 0)
        """,
    )


@pytest.mark.slow
async def test_a_lost_daemon_is_started_again_and_nothing_in_the_buffer_is_lost(
    places: dict[str, str],
) -> None:
    async with running_daemon() as daemon:
        await nvim(
            daemon,
            f"""
            vim.cmd("Parley /fast hello")
            wait("the chat", opened)
            wait("the end", ended())
            write("not sent yet")
            local before = text()
            vim.uv.kill({daemon.pid}, "sigkill")
            wait("a word about it", function() return #notes > 0 end)
            check("it is said once: " .. vim.inspect(notes), #notes == 1)
            wait("the daemon", function()
              local asked
              client.request("server/status", {{}}, function(status) asked = status.pid end)
              return vim.wait(500, function() return asked ~= nil and asked ~= {daemon.pid} end, 5)
            end)
            check("the transcript is as it was", text() == before)
            check("the prompt is as it was", prompt() == "not sent yet")
            chat():send_prompt()
            wait("the answer", function() return count("### Answer") == 2 and ended(2)() end)
            """,
        )
        await anyio.run_process([sys.executable, "-m", "parley_daemon", "stop"], env=daemon.env)


async def test_a_signature_without_a_thought_is_not_shown(neovim_daemon: DaemonProcess) -> None:
    answer = [{"type": "text", "text": "Yes."}, {"type": "reasoning", "text": "", "signature": "text:c2ln"}]
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Really?"}]},
        {"role": "assistant", "content": answer},
    ]
    async with unix_peer(neovim_daemon.socket) as peer:
        await peer.initialize()
        await peer.result("chat/create", {"messages": messages})
    said = await nvim(
        neovim_daemon,
        """
        vim.ui.select = function(chats, _, choose) choose(chats[1]) end
        vim.cmd("ParleyChats")
        wait("the chat", opened)
        io.stderr:write(text())
        """,
    )
    assert said.rstrip("\r") == "\n\n### You\n\nReally?\n\n### Answer\n\nYes."


async def test_a_refused_message_says_so_and_what_is_appended_later_stands_below(
    neovim_daemon: DaemonProcess,
) -> None:
    said = await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /fast hello")
        wait("the chat", opened)
        wait("the end", ended())
        local transcript = chat().transcript
        local content = { { type = "text", text = "with an image" } }
        local refused = { message = "The provider did not accept this message." }
        local message = { id = 99, role = "user", content = content, complete = true, refused = refused }
        transcript:add_message(message)
        vim.api.nvim_set_current_win(vim.fn.bufwinid(transcript.buffer))
        pcall(keys, "ggdGuddp<Esc>")
        transcript:add_piece(100, 0, { type = "text", text = "and on" })
        io.stderr:write(text())
        """,
    )
    end = "### You\n\nwith an image\n\nThe provider did not accept this message.\n\n### Answer\n\nand on"
    assert said.replace("\r", "").endswith(end)


def test_the_plugin_stays_small() -> None:
    lines = [
        line.strip()
        for path in PLUGIN.rglob("*.lua")
        for line in path.read_text("utf-8").splitlines()
        if line.strip() and not line.strip().startswith("--")
    ]
    assert 100 < len(lines) < 1_300
