-- A chat in two buffers: the transcript, which only the plugin changes, and the prompt, where the user writes.
-- So undo and every other editing command of the user have nothing to do with what the plugin writes.
local client = require("parley.client")
local Transcript = require("parley.transcript")
local agent = require("parley.agent")
local api = vim.api
local HINT = "──── your message: <C-s> or <CR> sends, <C-c> interrupts"
local BUSY = { pending = true, running = true, interrupting = true, paused = true }
local by_buffer = {} ---@type table<integer, parley.Chat> by transcript and by prompt

---@class parley.Chat
---@field id string
---@field transcript parley.Transcript
---@field prompt? integer the buffer of the message that the user writes
---@field requests table[] what the turn asks for, and nobody has answered yet
---@field seq? integer the sequence number of the last event that was drawn
local Chat = {}
Chat.__index = Chat

---Return the chat of a buffer, which is its transcript or its prompt.
---@return parley.Chat?
function Chat.of(buffer)
  return by_buffer[buffer]
end

---Show a chat in two windows, in its buffers if it has them.
---@return parley.Chat
function Chat.open(id)
  for _, chat in pairs(by_buffer) do
    if chat.id == id then
      return chat:show()
    end
  end
  local self = setmetatable({ id = id, timer = assert(vim.uv.new_timer()), requests = {} }, Chat)
  local buffer = self:new_buffer("parley://" .. id, function()
    self:close()
  end)
  self.transcript = Transcript.new(buffer)
  local function write()
    self:show()
    vim.cmd.startinsert()
  end
  for _, key in ipairs({ "i", "I", "a", "A", "o", "O", "<CR>" }) do
    vim.keymap.set("n", key, write, { buffer = buffer, desc = "Write a message" })
  end
  vim.keymap.set("n", "gf", function()
    local id = vim.fn.expand("<cword>"):match("^S%d+$")
    if id then
      return require("parley.sources").choose(self, id, Chat.of)
    end
    vim.cmd("normal! gf")
  end, { buffer = buffer, desc = "Open the cited source" })
  local function close_prompt()
    for _, window in ipairs(self.prompt and vim.fn.win_findbuf(self.prompt) or {}) do
      pcall(api.nvim_win_close, window, false) -- the last window stays
    end
  end
  api.nvim_create_autocmd("BufReadCmd", { buffer = buffer, callback = function()
    self:redraw()
  end })
  api.nvim_create_autocmd("BufHidden", { buffer = buffer, callback = vim.schedule_wrap(close_prompt) })
  client.listen(id, self)
  self:subscribe()
  return self:show()
end

---Return a new buffer of this chat. The function is called when it is deleted.
---@return integer
function Chat:new_buffer(name, on_delete)
  local buffer = api.nvim_create_buf(true, false)
  by_buffer[buffer] = self
  api.nvim_buf_set_name(buffer, name)
  vim.bo[buffer].buftype, vim.bo[buffer].bufhidden, vim.bo[buffer].swapfile = "nofile", "hide", false
  vim.bo[buffer].filetype = "markdown"
  local function send()
    self:send_prompt()
  end
  vim.keymap.set({ "n", "i" }, "<C-s>", send, { buffer = buffer, desc = "Send" })
  vim.keymap.set("n", "<CR>", send, { buffer = buffer, desc = "Send" })
  vim.keymap.set("n", "<C-c>", "<Cmd>ParleyStop<CR>", { buffer = buffer, desc = "Interrupt" })
  local function forget()
    if by_buffer[buffer] then
      by_buffer[buffer] = nil
      on_delete()
      vim.schedule(function()
        pcall(api.nvim_buf_delete, buffer, { force = true }) -- :bdelete would keep its name
      end)
    end
  end
  api.nvim_create_autocmd({ "BufDelete", "BufWipeout" }, { buffer = buffer, callback = forget })
  return buffer
end

---Show both buffers in windows of this tab page, and go to the prompt.
---@return parley.Chat
function Chat:show()
  local function go_to(buffer, split)
    local window = vim.fn.bufwinid(buffer)
    if window == -1 then
      vim.cmd(split)
      api.nvim_win_set_buf(0, buffer)
    else
      api.nvim_set_current_win(window)
    end
  end
  if not self.prompt then
    self.prompt = self:new_buffer("parley://" .. self.id .. "/prompt", function()
      self.prompt = nil
    end)
  end
  -- The prompt of another chat is too low to be split.
  go_to(self.transcript.buffer, by_buffer[api.nvim_get_current_buf()] and "botright split" or "split")
  go_to(self.prompt, "belowright 6split")
  vim.wo[0][0].winfixheight = true
  self:show_status(self.status)
  return self
end

---Forget the chat, whose transcript is being deleted.
function Chat:close()
  self.timer:close()
  if vim.v.exiting == vim.NIL then
    client.listen(self.id, nil)
    vim.schedule(function()
      pcall(api.nvim_buf_delete, self.prompt, { force = true })
    end)
  end
end

---Subscribe to the events of the chat, or resume after the last one.
function Chat:subscribe()
  local from = { chatId = self.id, partialResultToken = self.id, afterSeq = self.seq }
  client.request("chat/subscribe", from, function(result)
    return result.resumed or self:draw(result.snapshot, result.seq)
  end)
end

---Subscribe again, because the transcript is no longer valid.
function Chat:redraw()
  self.seq = nil
  self:subscribe()
end

---Draw the whole chat.
function Chat:draw(snapshot, seq)
  self.seq = seq
  self.transcript:draw(snapshot)
  self.requests = {}
  for _, request in ipairs(snapshot.actionRequests) do
    self:ask(request)
  end
  self:show_status(snapshot.chat.status)
end

---Show the status of the chat above the prompt, or the reason, with the time in seconds.
function Chat:show_status(status, reason)
  if self.timer:is_closing() then
    return -- the chat was closed meanwhile
  end
  local since = vim.uv.now()
  self.status = status
  self.timer:start(0, BUSY[status] and 1000 or 0, vim.schedule_wrap(function()
    local seconds = (vim.uv.now() - since) / 1000
    local busy = BUSY[status] and ("%%#WarningMsg#  %s, %d s"):format((reason or status):gsub("%%", "%%%%"), seconds)
    for _, window in ipairs(self.prompt and vim.fn.win_findbuf(self.prompt) or {}) do
      vim.wo[window][0].winbar = "%#Comment#" .. HINT .. (busy or "")
    end
  end))
end

---Show what the turn asks for. A call of a client's tool is answered by that client.
function Chat:ask(request)
  if request.kind ~= "tool" then
    table.insert(self.requests, request)
    self.transcript:add_block(agent.describe_request(request, self.id))
    agent.explain(request, function(why)
      if vim.list_contains(self.requests, request) then
        self.transcript:add_block(why, "Comment")
      end
    end)
  end
end

---Show how a question was answered, whoever did.
function Chat:end_question(event)
  for index, request in ipairs(self.requests) do
    if request.id == event.requestId then
      table.remove(self.requests, index)
      self.transcript:add_block(("%s: %s"):format(request.title, agent.describe_answer(event)), "Comment")
      return
    end
  end
end

---Call the function with the open question, after a choice if there are several.
---@param callback fun(request: table)
function Chat:with_request(callback)
  if #self.requests == 0 then
    return vim.notify("Nothing is asked in this chat.", vim.log.levels.WARN)
  elseif #self.requests == 1 then
    return callback(self.requests[1])
  end
  local format = function(request)
    return agent.visible(request.title)
  end
  vim.ui.select(self.requests, { prompt = "Which question?", format_item = format }, function(request)
    return request and callback(request)
  end)
end

---Draw an event. An event that was drawn already is ignored.
function Chat:handle_event(event)
  if not self.seq or event.seq <= self.seq then
    return
  end
  self.seq = event.seq
  if event.type == "message_part" then
    self.transcript:add_piece(event.messageId, event.index, event.part)
  elseif event.type == "message" then
    self.transcript:add_message(event.message)
  elseif event.type == "status" then
    self:show_status(event.status)
  elseif event.type == "reset" then
    self:draw(event.snapshot, event.seq)
  elseif event.type == "preview_reset" or event.type == "history_reset" then
    self:redraw()
  elseif event.type == "retry" then
    self:show_status("running", ("retrying in %d s: %s"):format(event.delayMs / 1000, event.error.message))
  elseif event.type == "error" then
    self.transcript:add_error(event.error, event.turnId)
  elseif event.type == "tool_started" then
    self:show_status("running", "running " .. event.toolName)
  elseif event.type == "action_required" then
    self:ask(event.request)
  elseif event.type == "action_resolved" then
    self:end_question(event)
  elseif event.type == "files_changed" then
    agent.reload(event.files)
  elseif event.type == "turn_ended" then
    self.transcript:add_usage(event)
  end
end

---Send the text of the prompt.
function Chat:send_prompt()
  local text = self.prompt and vim.trim(table.concat(api.nvim_buf_get_lines(self.prompt, 0, -1, false), "\n"))
  if text and text ~= "" then
    api.nvim_buf_set_lines(self.prompt, 0, -1, false, {})
    self.transcript:show_end()
    self:send_text(text)
  end
end

---Send a text, with the resources of MCP servers that it names.
function Chat:send_text(text)
  require("parley.offers").with_resources(self.id, text, function(content)
    self:send(content, text)
  end, function()
    self:append(text)
  end)
end

---Add a text to the message that the user writes.
function Chat:append(text)
  if self.prompt then
    local lines = api.nvim_buf_get_lines(self.prompt, 0, -1, false)
    local is_empty = vim.deep_equal(lines, { "" })
    api.nvim_buf_set_lines(self.prompt, is_empty and 0 or -1, -1, false, vim.split(text, "\n"))
  end
end

---Send a message. If it is rejected, the text that it was made of is put back into the prompt.
---@param text? string
function Chat:send(content, text)
  local key = ("nvim-%d-%d"):format(vim.uv.os_getpid(), vim.uv.hrtime())
  local message = { chatId = self.id, content = content, clientMessageId = key }
  client.request("chat/send", message, nil, function()
    if text then
      self:append(text)
    end
  end)
end

return Chat
