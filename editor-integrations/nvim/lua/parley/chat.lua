-- A chat in a buffer: the transcript above a border that moves down, below it what the user writes.
local client = require("parley.client")
local api, ns = vim.api, vim.api.nvim_create_namespace("parley")
local BORDER = "──── your message: <C-s> or <CR> sends, <C-c> interrupts ────"
local BUSY = { pending = true, running = true, interrupting = true }
local by_buffer = {} ---@type table<integer, parley.Chat>

---@class parley.Chat
---@field id string
---@field buffer integer
---@field border integer the extmark of the border's line
---@field seq? integer the newest event that was drawn
---@field part? {message: integer, index: integer} what is being streamed
local Chat = {}
Chat.__index = Chat

---@return parley.Chat?
function Chat.of(buffer)
  return by_buffer[buffer]
end

---Show a chat in a window.
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
  local function closed()
    by_buffer[buffer] = nil
    self.timer:close()
    client.listen(id, nil)
  end
  api.nvim_create_autocmd("BufWipeout", { buffer = buffer, callback = closed })
  client.listen(id, self)
  self:subscribe()
  return self
end

---Subscribe, or go on where the stream broke off.
function Chat:subscribe()
  local from = { chatId = self.id, partialResultToken = self.id, afterSeq = self.seq }
  client.request("chat/subscribe", from, function(result)
    return result.resumed or self:draw(result.snapshot, result.seq)
  end)
end

---Draw the whole chat anew; what the user is writing stays.
function Chat:draw(snapshot, seq)
  self.seq, self.part = seq, nil
  api.nvim_buf_clear_namespace(self.buffer, ns, 0, self:top())
  api.nvim_buf_set_lines(self.buffer, 0, self:top(), false, { "" })
  for _, message in ipairs(snapshot.messages) do
    self:add_message(message)
  end
  local preview = client.present(snapshot.preview)
  for index, part in ipairs(preview and preview.parts or {}) do
    self:add_piece(preview.messageId, index - 1, part)
  end
  self:show_status(snapshot.chat.status)
end

---Return the row of the border.
function Chat:top()
  return api.nvim_buf_get_extmark_by_id(self.buffer, ns, self.border, {})[1]
end

---Write at the end of the transcript, highlighted if a group is named.
function Chat:write(text, group)
  local row = self:top() - 1
  local column = #api.nvim_buf_get_lines(self.buffer, row, row + 1, false)[1]
  api.nvim_buf_set_text(self.buffer, row, column, row, column, vim.split(text, "\n"))
  if group then
    local mark = { end_row = self:top(), end_col = 0, hl_group = group }
    api.nvim_buf_set_extmark(self.buffer, ns, row, column, mark)
  end
end

---Write a part, or one more piece of it.
function Chat:add_piece(message, index, part)
  if part.text == "" then
    return -- it holds a signature, for the model alone
  end
  local before = self.part and self.part.message == message and self.part
  if not before or before.index ~= index then
    self:write(before and "\n\n" or "\n\n### Answer\n\n")
    self.part = { message = message, index = index }
  end
  local source = part.type == "source" and ("- [%s](%s)"):format(part.title, part.url)
  self:write(part.text and not source and part.text or source or part.type, part.type == "reasoning" and "Comment")
end

---Write a durable message, unless it was streamed here.
function Chat:add_message(message)
  if not self.part or self.part.message ~= message.id then
    self:write(message.role == "user" and "\n\n### You" or "\n\n### Answer")
    self.part = { message = message.id, index = -1 }
    for index, part in ipairs(message.content) do
      self:add_piece(message.id, index - 1, part)
    end
  end
  self.part = nil
  return message.complete or self:write("\n\n*cut short*", "WarningMsg")
end

---Show beside the border what the chat is doing, or why it waits, and for how many seconds.
function Chat:show_status(status, why)
  local since = vim.uv.now()
  self.timer:start(0, BUSY[status] and 1000 or 0, vim.schedule_wrap(function()
    local seconds = (vim.uv.now() - since) / 1000
    local shown = BUSY[status] and { { ("  %s, %d s"):format(why or status, seconds), "WarningMsg" } }
    local mark = { id = self.border, line_hl_group = "Comment", virt_text = shown or { { "" } } }
    return by_buffer[self.buffer] and api.nvim_buf_set_extmark(self.buffer, ns, self:top(), 0, mark)
  end))
end

---Show what a turn took, at the end of its answer.
function Chat:show_usage(event)
  local tokens = client.present(event.usage) and client.present(event.usage.totalTokens)
  local told = ("  %.1f s, %s tokens"):format(event.timings.totalMs / 1000, tokens or "?")
  api.nvim_buf_set_extmark(self.buffer, ns, self:top() - 1, 0, { virt_text = { { told, "Comment" } } })
end

---Draw an event; one that was drawn before changes nothing.
function Chat:event(event)
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
    self.seq = nil -- what is shown is void: begin again from a snapshot
    self:subscribe()
  elseif event.type == "retry" then
    self:show_status("running", ("trying again in %d s: %s"):format(event.delayMs / 1000, event.error.message))
  elseif event.type == "error" then
    self:write("\n\n" .. event.error.message, "ErrorMsg")
  elseif event.type == "turn_ended" then
    self:show_usage(event)
  end
end

---Send what stands below the border.
function Chat:send_prompt()
  local from = self:top() + 1
  local text = vim.trim(table.concat(api.nvim_buf_get_lines(self.buffer, from, -1, false), "\n"))
  if text ~= "" then
    api.nvim_buf_set_lines(self.buffer, from, -1, false, { "" })
    self:send(text)
  end
end

---Send a message; a text that is refused stands below the border again.
function Chat:send(content)
  local key = ("nvim-%d-%d"):format(vim.uv.os_getpid(), vim.uv.hrtime())
  local message = { chatId = self.id, content = content, clientMessageId = key }
  client.request("chat/send", message, nil, function()
    local lines = type(content) == "string" and vim.split(content, "\n") or {}
    api.nvim_buf_set_lines(self.buffer, -1, -1, false, lines)
  end)
end

return Chat
