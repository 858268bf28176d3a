-- The functions behind the commands, and the configuration.
local client = require("parley.client")
local Chat, agent = require("parley.chat"), require("parley.agent")
local M = {}

---@param config? parley.Config
function M.setup(config)
  client.config = vim.tbl_extend("force", client.config, config or {})
end

---Open a new chat in a new window and send the text, with a reference to lines of the current buffer.
---@param text string
---@param lines? integer[] the first and the last line, from 1
---@param mode? string what the model may do unasked; it works in the current folder
function M.open(text, lines, mode)
  if vim.fn.has("nvim-0.11") == 0 then
    return vim.notify("parley requires Neovim 0.11 or newer", vim.log.levels.ERROR)
  end
  local content, source = text, vim.api.nvim_get_current_buf()
  if lines then
    client.attach(source) -- by LSP document sync, so that the daemon reads unsaved changes
    local reference = { type = "reference", uri = vim.uri_from_bufnr(source), startLine = lines[1], endLine = lines[2] }
    content = { { type = "text", text = text ~= "" and text or "Look at this." }, reference }
  end
  local params, root = {}, vim.fs.normalize(vim.fn.getcwd())
  if mode then
    client.follow(root)
    params = { settings = { agent = { mode = mode } }, context = { repositories = { vim.uri_from_fname(root) } } }
  end
  client.request("chat/create", params, function(chat)
    local opened = Chat.open(chat.id)
    if type(content) == "table" then
      opened:send(content)
    elseif content ~= "" then
      opened:send_text(content)
    end
  end)
end

---Choose a stored chat and reopen it.
function M.pick()
  client.request("chat/list", { limit = 200 }, function(page)
    local function describe(chat)
      local when = chat.updatedAt:sub(1, 16):gsub("T", " ")
      return ("%s  %s  (%s)"):format(when, client.nil_if_null(chat.title) or "untitled", chat.status)
    end
    vim.ui.select(page.chats, { prompt = "Chat", format_item = describe }, function(chat)
      return chat and Chat.open(chat.id)
    end)
  end)
end

---Return the chat of this buffer; without one, say how to get one.
local function chat_here()
  local chat = Chat.of(vim.api.nvim_get_current_buf())
  if not chat then
    vim.notify("This buffer is not a chat. Use :ParleyChats to reopen one.", vim.log.levels.WARN)
  end
  return chat
end

---List the MCP servers of the chat of this buffer, or of the present folder; start, trust or authorize one.
function M.servers()
  require("parley.servers").servers(Chat.of(vim.api.nvim_get_current_buf()))
end

---Choose what MCP servers offer in this chat: a prompt to send, or a resource to name in a message.
---@param what "prompts"|"resources"
function M.offers(what)
  local chat = chat_here()
  return chat and require("parley.offers")[what](chat)
end

---List the agents that the model of this chat has started; open or stop one.
function M.agents()
  local chat = chat_here()
  return chat and require("parley.servers").agents(chat, Chat.open)
end

---List the sources of the last answer of this chat, and open one at its line.
function M.sources()
  local chat = chat_here()
  return chat and require("parley.sources").choose(chat, nil, Chat.of)
end

---Answer what the turn of this chat asks for.
---@param how "allow"|"deny"|"always"|"answer"
---@param reason? string
function M.respond(how, reason)
  local chat = chat_here()
  if not chat then
    return
  end
  chat:with_request(function(request)
    agent[how](request, reason)
  end)
end

---Interrupt the answer in the chat of this buffer. The partial answer is kept.
function M.stop()
  local chat = chat_here()
  if not chat then
    return
  end
  client.request("chat/interrupt", { chatId = chat.id })
end

return M
