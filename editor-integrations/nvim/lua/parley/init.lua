-- What the commands do. Knows neither frames nor how a chat is drawn.
local client = require("parley.client")
local Chat = require("parley.chat")
local M = {}

---@param config? parley.Config
function M.setup(config)
  client.config = vim.tbl_extend("force", client.config, config or {})
end

---Open a chat in a new window, and ask the text there; lines of this buffer go along as they are now.
---@param text string
---@param lines? integer[] the first and the last one
function M.open(text, lines)
  if vim.fn.has("nvim-0.11") == 0 then
    return vim.notify("parley needs Neovim 0.11 or newer", vim.log.levels.ERROR)
  end
  local content, source = text, vim.api.nvim_get_current_buf()
  if lines then
    client.attach(source) -- LSP's document sync: the daemon reads the buffer, saved or not
    local reference = { type = "reference", uri = vim.uri_from_bufnr(source), startLine = lines[1], endLine = lines[2] }
    content = { { type = "text", text = text ~= "" and text or "Look at this." }, reference }
  end
  client.request("chat/create", {}, function(chat)
    local opened = Chat.open(chat.id)
    if content ~= "" then
      opened:send(content)
    end
  end)
end

---Choose a stored chat and reopen it.
function M.pick()
  client.request("chat/list", { limit = 200 }, function(page)
    local function describe(chat)
      local when = chat.updatedAt:sub(1, 16):gsub("T", " ")
      return ("%s  %s  (%s)"):format(when, client.present(chat.title) or "untitled", chat.status)
    end
    vim.ui.select(page.chats, { prompt = "Chat", format_item = describe }, function(chat)
      return chat and Chat.open(chat.id)
    end)
  end)
end

---Interrupt the answer in this buffer's chat; what has come of it stays.
function M.stop()
  local chat = Chat.of(vim.api.nvim_get_current_buf())
  if not chat then
    return vim.notify("This buffer is no chat. :ParleyChats reopens one.", vim.log.levels.WARN)
  end
  client.request("chat/interrupt", { chatId = chat.id })
end

return M
