"""`:ParleySources` in the real editor: listing what an answer is based on, and opening it at its line."""

from pathlib import Path

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.neovim import nvim


async def test_a_source_is_listed_and_opened_where_its_text_is_now(
    neovim_daemon: DaemonProcess, tmp_path: Path
) -> None:
    file = tmp_path / "some work.py"
    file.write_text("import os\n\n\ndef work():\n    return os\n", "utf-8")
    await nvim(
        neovim_daemon,
        f"""
        local shown, path = nil, "{file}"
        vim.ui.select = function(items, options, choose)
          shown = vim.tbl_map(options.format_item, items)
          choose(items[1], 1)
        end
        vim.cmd.cd("{tmp_path}")
        vim.cmd("edit " .. vim.fn.fnameescape(path))
        vim.cmd("4,5Parley /fast /tokens 2")
        wait("the chat", opened)
        wait("the end", ended())
        local transcript = vim.api.nvim_get_current_win()
        vim.fn.setbufline(vim.fn.bufnr(path), 1, {{ "# new", "import os", "", "", "def work():" }})
        vim.fn.appendbufline(vim.fn.bufnr(path), 5, "    return os")
        vim.fn.setbufline(vim.fn.bufnr(path), 7, "")
        vim.cmd("ParleySources")
        wait("the list", function() return shown ~= nil end)
        check("it says where: " .. shown[1], shown[1] == "some work.py:4-5")
        check("the file is shown", vim.api.nvim_buf_get_name(0) == path)
        check("at the line", vim.api.nvim_win_get_cursor(0)[1] == 5)
        check("the chat stays", vim.api.nvim_win_is_valid(transcript))
        vim.fn.setbufline(vim.fn.bufnr(path), 5, "def play():")
        vim.api.nvim_set_current_win(transcript)
        vim.cmd("ParleySources")
        wait("the note", function() return (notes[#notes] or ""):find("has changed", 1, true) end)
        check("at the old line", vim.api.nvim_win_get_cursor(0)[1] == 4)
        """,
    )


async def test_an_answer_without_sources_says_so(neovim_daemon: DaemonProcess) -> None:
    await nvim(
        neovim_daemon,
        """
        vim.cmd("Parley /fast /tokens 2")
        wait("the chat", opened)
        wait("the end", ended())
        vim.cmd("ParleySources")
        wait("the note", function() return notes[#notes] == "The last answer has no sources." end)
        """,
    )
