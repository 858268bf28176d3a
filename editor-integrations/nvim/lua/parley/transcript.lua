-- The transcript of a chat: a buffer that only this module changes. It is not modifiable and has no undo
-- history. Text is appended at its end, wherever that is, so that nothing a user does to it can misplace text.
local agent, client = require("parley.agent"), require("parley.client")
local api, ns = vim.api, vim.api.nvim_create_namespace("parley")

---@class parley.Transcript
---@field buffer integer
---@field part? {message: integer, index: integer} the part that is being streamed
---@field ends table<string, integer> by turn: the extmark in the last line of its answer
---@field calls table<string, {args: any, is_done?: boolean}> by id: the calls of tools
---@field is_answer? boolean whether the end belongs to an answer, so that it needs no heading
---@field summaries table<string, string> by turn: its time and tokens
local Transcript = {}
Transcript.__index = Transcript

---Keep the transcript in this buffer.
---@return parley.Transcript
function Transcript.new(buffer)
  vim.bo[buffer].undolevels, vim.bo[buffer].modifiable = -1, false
  return setmetatable({ buffer = buffer, ends = {}, calls = {}, summaries = {} }, Transcript)
end

---Change the text. Windows that show its end are scrolled, unless something is being selected there.
function Transcript:change(edit)
  local buffer = self.buffer
  if not api.nvim_buf_is_loaded(buffer) then
    return -- it is drawn again when it is loaded again
  end
  local selected_in = api.nvim_get_mode().mode ~= "n" and api.nvim_get_current_win()
  local following = vim.tbl_filter(function(window)
    return window ~= selected_in and api.nvim_win_get_cursor(window)[1] == api.nvim_buf_line_count(buffer)
  end, vim.fn.win_findbuf(buffer))
  vim.bo[buffer].modifiable = true
  edit()
  vim.bo[buffer].modifiable, vim.bo[buffer].modified = false, false
  self:show_end(following)
end

---Scroll these windows to the end, by default all that show the transcript.
function Transcript:show_end(windows)
  for _, window in ipairs(windows or vim.fn.win_findbuf(self.buffer)) do
    local row, column = self:last_place()
    api.nvim_win_set_cursor(window, { row + 1, column })
  end
end

---Return the last row, from 0, and the column behind its text.
function Transcript:last_place()
  return api.nvim_buf_line_count(self.buffer) - 1, #api.nvim_buf_get_lines(self.buffer, -2, -1, false)[1]
end

---Draw everything again.
function Transcript:draw(snapshot)
  self.part, self.ends, self.calls, self.is_answer = nil, {}, {}, false
  self:change(function()
    api.nvim_buf_clear_namespace(self.buffer, ns, 0, -1)
    api.nvim_buf_set_lines(self.buffer, 0, -1, false, {})
  end)
  for _, message in ipairs(snapshot.messages) do
    self:add_message(message)
    local turn, usage = client.nil_if_null(message.turnId), client.nil_if_null(message.usage)
    local tokens = usage and client.nil_if_null(usage.totalTokens)
    self:label(turn, self.summaries[turn or ""] or tokens and ("  %d tokens"):format(tokens))
  end
  local preview = client.nil_if_null(snapshot.preview)
  for index, part in ipairs(preview and preview.parts or {}) do
    self:add_piece(preview.messageId, index - 1, part)
  end
end

---Append text, with a highlight group if given.
function Transcript:append(text, group)
  self:change(function()
    local row, column = self:last_place()
    api.nvim_buf_set_text(self.buffer, row, column, row, column, vim.split(text, "\n"))
    if group then
      local end_row, end_col = self:last_place()
      local mark = { end_row = end_row, end_col = end_col, hl_group = group }
      api.nvim_buf_set_extmark(self.buffer, ns, row, column, mark)
    end
  end)
end

---Append a block of its own, which is not part of a message, below one empty line.
function Transcript:add_block(text, group)
  local last = api.nvim_buf_is_loaded(self.buffer) and api.nvim_buf_get_lines(self.buffer, -3, -1, false) or {}
  local gap = last[#last] ~= "" and "\n\n" or last[#last - 1] ~= "" and "\n" or ""
  self:append(gap .. text, group)
  self.part = self.part and { message = self.part.message, index = -1 }
end

---Append the heading of an answer, once for all messages of a turn.
function Transcript:begin_answer()
  if not self.is_answer then
    self:append("\n\n### Answer")
    self.is_answer = true
  end
end

---Append a step that has ended, once. Of what runs only the status line tells.
function Transcript:add_step(part)
  local id = part.toolCallId
  if part.type == "tool-call" and part.args ~= nil then
    self.calls[id] = { args = part.args }
  elseif part.type == "tool-result" and part.resultDelta == nil and not (self.calls[id] or {}).is_done then
    self:begin_answer()
    local text, is_ok = agent.describe_result(part, (self.calls[id] or {}).args)
    self:add_block(text, is_ok and "Comment" or "WarningMsg")
    self.calls[id] = { is_done = true }
  end
end

---Append a part, or a piece of a part.
function Transcript:add_piece(message, index, part)
  if part.type == "tool-call" or part.type == "tool-result" then
    return self:add_step(part)
  end
  if part.text == "" then
    return -- the part has a signature only, for the model
  end
  local last = self.part and self.part.message == message and self.part
  if not last or last.index ~= index then
    self:begin_answer()
    self:append("\n\n")
    self.part = { message = message, index = index }
  end
  local is_cited = part.type == "source" and part.sourceId:match("^S%d+$")
  local source = is_cited and "- " .. require("parley.sources").describe(part)
    or part.type == "source" and ("- [%s](%s)"):format(part.title, part.url)
  self:append(part.text and not source and part.text or source or part.type, part.type == "reasoning" and "Comment")
end

---Append a complete message, unless it was streamed.
function Transcript:add_message(message)
  local is_new = not self.part or self.part.message ~= message.id
  if is_new and message.role == "user" then
    self:append("\n\n### You")
    self.is_answer = true -- its parts need no heading
  elseif is_new and message.role == "assistant" then
    self:begin_answer()
  end
  self.part = is_new and { message = message.id, index = -1 } or self.part
  for index, part in ipairs((is_new or message.role == "tool") and message.content or {}) do
    self:add_piece(message.id, index - 1, part)
  end
  self.is_answer = message.role ~= "user"
  self.part = nil
  if not message.complete then
    self:append("\n\n*cut short*", "WarningMsg")
  end
  local refused = client.nil_if_null(message.refused)
  if refused then
    self:append("\n\n" .. refused.message, "ErrorMsg")
  end
  self:mark_end(client.nil_if_null(message.turnId))
end

---Append why a turn failed.
function Transcript:add_error(error, turn)
  self:append("\n\n" .. error.message, "ErrorMsg")
  self:mark_end(client.nil_if_null(turn))
end

---Remember that what was appended last belongs to this turn.
function Transcript:mark_end(turn)
  if turn and api.nvim_buf_is_loaded(self.buffer) then
    local mark = { id = self.ends[turn], right_gravity = false } -- what is appended later does not move it
    self.ends[turn] = api.nvim_buf_set_extmark(self.buffer, ns, self:last_place(), 0, mark)
  end
end

---Show the time and the tokens of a turn at the end of its answer.
function Transcript:add_usage(event)
  local tokens = client.nil_if_null(event.usage) and client.nil_if_null(event.usage.totalTokens)
  self.summaries[event.turnId] = ("  %.1f s, %s tokens"):format(event.timings.totalMs / 1000, tokens or "?")
  self:label(event.turnId, self.summaries[event.turnId])
end

function Transcript:label(turn, text)
  local id = turn and text and self.ends[turn]
  local place = id and api.nvim_buf_get_extmark_by_id(self.buffer, ns, id, {})
  if place and place[1] then
    local label = { id = id, virt_text = { { text, "Comment" } }, right_gravity = false }
    api.nvim_buf_set_extmark(self.buffer, ns, place[1], 0, label)
  end
end

return Transcript
