-- A chat in a buffer: the transcript, a border line, and below it the message that the user writes.
local client = require("parley.client")
local api, ns = vim.api, vim.api.nvim_create_namespace("parley")
local BORDER = "──── your message: <C-s> or <CR> sends, <C-c> interrupts ────"
local BUSY = { pending = true, running = true, interrupting = true }
local by_buffer = {} ---@type table<integer, parley.Chat>

---@class parley.Chat
---@field id string
---@field buffer integer
---@field border integer the extmark of the border line
---@field seq? integer the sequence number of the last event that was drawn
---@field part? {message: integer, index: integer} the part that is being streamed
local Chat = {}
Chat.__index = Chat

---Return the chat of a buffer.
---@return parley.Chat?
function Chat.of(buffer)
  return by_buffer[buffer]
end

---Show a chat in a window: in its buffer if it has one, else in a new one.
---@return parley.Chat
function Chat.open(id)
  for buffer, chat in pairs(by_buffer) do
    if chat.id == id then
      vim.cmd.sbuffer(buffer)
      return chat
    end
  end
  vim.cmd.new()
  local buffer = api.nvim_get_current_buf()
  local self = setmetatable({ id = id, buffer = buffer, timer = assert(vim.uv.new_timer()) }, Chat)
  by_buffer[buffer] = self
  api.nvim_buf_set_name(buffer, "parley://" .. id)
  vim.bo.buftype, vim.bo.bufhidden, vim.bo.swapfile, vim.bo.filetype = "nofile", "hide", false, "markdown"
  api.nvim_buf_set_lines(buffer, 0, -1, false, { "", BORDER, "" })
  self.border = api.nvim_buf_set_extmark(buffer, ns, 1, 0, { line_hl_group = "Comment" })
  api.nvim_win_set_cursor(0, { 3, 0 })
  local function send()
    self:send_prompt()
  end
  vim.keymap.set({ "n", "i" }, "<C-s>", send, { buffer = buffer, desc = "Send" })
  vim.keymap.set("n", "<CR>", send, { buffer = buffer, desc = "Send" })
  vim.keymap.set("n", "<C-c>", "<Cmd>ParleyStop<CR>", { buffer = buffer, desc = "Interrupt" })
  local function on_wipeout()
    by_buffer[buffer] = nil
    self.timer:close()
    client.listen(id, nil)
  end
  api.nvim_create_autocmd("BufWipeout", { buffer = buffer, callback = on_wipeout })
  client.listen(id, self)
  self:subscribe()
  return self
end

---Subscribe to the events of the chat, or resume after the last one.
function Chat:subscribe()
  local from = { chatId = self.id, partialResultToken = self.id, afterSeq = self.seq }
  client.request("chat/subscribe", from, function(result)
    return result.resumed or self:draw(result.snapshot, result.seq)
  end)
end

---Draw the whole chat again. The text below the border is kept.
function Chat:draw(snapshot, seq)
  self.seq, self.part = seq, nil
  api.nvim_buf_clear_namespace(self.buffer, ns, 0, self:border_row())
  api.nvim_buf_set_lines(self.buffer, 0, self:border_row(), false, { "" })
  for _, message in ipairs(snapshot.messages) do
    self:add_message(message)
  end
  local preview = client.nil_if_null(snapshot.preview)
  for index, part in ipairs(preview and preview.parts or {}) do
    self:add_piece(preview.messageId, index - 1, part)
  end
  self:show_status(snapshot.chat.status)
end

---Return the row of the border line, from 0.
function Chat:border_row()
  return api.nvim_buf_get_extmark_by_id(self.buffer, ns, self.border, {})[1]
end

---Append text to the transcript, with a highlight group if given.
function Chat:append(text, group)
  local row = self:border_row() - 1
  local column = #api.nvim_buf_get_lines(self.buffer, row, row + 1, false)[1]
  api.nvim_buf_set_text(self.buffer, row, column, row, column, vim.split(text, "\n"))
  if group then
    local mark = { end_row = self:border_row(), end_col = 0, hl_group = group }
    api.nvim_buf_set_extmark(self.buffer, ns, row, column, mark)
  end
end

---Append a part, or a piece of a part.
function Chat:add_piece(message, index, part)
  if part.text == "" then
    return -- the part has a signature only, for the model
  end
  local last = self.part and self.part.message == message and self.part
  if not last or last.index ~= index then
    self:append(last and "\n\n" or "\n\n### Answer\n\n")
    self.part = { message = message, index = index }
  end
  local source = part.type == "source" and ("- [%s](%s)"):format(part.title, part.url)
  self:append(part.text and not source and part.text or source or part.type, part.type == "reasoning" and "Comment")
end

---Append a complete message, unless it was streamed.
function Chat:add_message(message)
  if not self.part or self.part.message ~= message.id then
    self:append(message.role == "user" and "\n\n### You" or "\n\n### Answer")
    self.part = { message = message.id, index = -1 }
    for index, part in ipairs(message.content) do
      self:add_piece(message.id, index - 1, part)
    end
  end
  self.part = nil
  return message.complete or self:append("\n\n*cut short*", "WarningMsg")
end

---Show the status of the chat beside the border, or the reason, with the time in seconds.
function Chat:show_status(status, reason)
  local since = vim.uv.now()
  self.timer:start(0, BUSY[status] and 1000 or 0, vim.schedule_wrap(function()
    local seconds = (vim.uv.now() - since) / 1000
    local shown = BUSY[status] and { { ("  %s, %d s"):format(reason or status, seconds), "WarningMsg" } }
    local mark = { id = self.border, line_hl_group = "Comment", virt_text = shown or { { "" } } }
    return by_buffer[self.buffer] and api.nvim_buf_set_extmark(self.buffer, ns, self:border_row(), 0, mark)
  end))
end

---Show the time and the tokens of a turn at the end of its answer.
function Chat:show_usage(event)
  local tokens = client.nil_if_null(event.usage) and client.nil_if_null(event.usage.totalTokens)
  local summary = ("  %.1f s, %s tokens"):format(event.timings.totalMs / 1000, tokens or "?")
  api.nvim_buf_set_extmark(self.buffer, ns, self:border_row() - 1, 0, { virt_text = { { summary, "Comment" } } })
end

---Draw an event. An event that was drawn already is ignored.
function Chat:handle_event(event)
  if not self.seq or event.seq <= self.seq then
    return
  end
  self.seq = event.seq
  if event.type == "message_part" then
    self:add_piece(event.messageId, event.index, event.part)
  elseif event.type == "message" then
    self:add_message(event.message)
  elseif event.type == "status" then
    self:show_status(event.status)
  elseif event.type == "reset" then
    self:draw(event.snapshot, event.seq)
  elseif event.type == "preview_reset" or event.type == "history_reset" then
    self.seq = nil -- the transcript is no longer valid: draw a new snapshot
    self:subscribe()
  elseif event.type == "retry" then
    self:show_status("running", ("retrying in %d s: %s"):format(event.delayMs / 1000, event.error.message))
  elseif event.type == "error" then
    self:append("\n\n" .. event.error.message, "ErrorMsg")
  elseif event.type == "turn_ended" then
    self:show_usage(event)
  end
end

---Send the text below the border.
function Chat:send_prompt()
  local from = self:border_row() + 1
  local text = vim.trim(table.concat(api.nvim_buf_get_lines(self.buffer, from, -1, false), "\n"))
  if text ~= "" then
    api.nvim_buf_set_lines(self.buffer, from, -1, false, { "" })
    self:send(text)
  end
end

---Send a message. If it is rejected, its text is put back below the border.
function Chat:send(content)
  local key = ("nvim-%d-%d"):format(vim.uv.os_getpid(), vim.uv.hrtime())
  local message = { chatId = self.id, content = content, clientMessageId = key }
  client.request("chat/send", message, nil, function()
    local lines = type(content) == "string" and vim.split(content, "\n") or {}
    api.nvim_buf_set_lines(self.buffer, -1, -1, false, lines)
  end)
end

return Chat
