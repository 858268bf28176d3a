-- The sources of an answer: which there are, and opening one where its text is now.
-- A source quotes a file as it was at one moment. If its lines are elsewhere by now, they are looked for.
local client = require("parley.client")
local agent = require("parley.agent")
local M = {}

local function nonnull(value)
  return client.nil_if_null(value)
end

---Return the path of a file URI of this machine, relative to the present folder where it lies below it.
local function path_of(source)
  local is_file = source.url:match("^file:///")
  return is_file and vim.fn.fnamemodify(vim.uri_to_fname(source.url), ":.")
end

---Return one line about a source: its id if answers cite it, and where it is.
---@return string
function M.describe(source)
  local id = source.sourceId:match("^S%d+$")
  local first, last = nonnull(source.startLine), nonnull(source.endLine)
  local lines = first and (":%d-%d"):format(first, last or first) or ""
  local path = path_of(source)
  local place = path and path .. lines or ("%s  %s"):format(source.title, source.url)
  return (agent.visible((id and id .. "  " or "") .. place):gsub("\n", " "))
end

---Return the ids that answers cite.
local function cited_in(messages)
  local cited = {}
  for _, message in ipairs(messages) do
    for _, part in ipairs(message.role == "assistant" and message.content or {}) do
      for group in (part.type == "text" and part.text or ""):gmatch("%[(S[%dS, ]*)%]") do
        for id in group:gmatch("S%d+") do
          cited[id] = true
        end
      end
    end
  end
  return cited
end

---Return the sources in these messages, each once; with `only`, those with these ids.
local function sources_in(messages, only)
  local found, known = {}, {}
  for _, message in ipairs(messages) do
    for _, part in ipairs(message.content) do
      if part.type == "source" and (not only or only[part.sourceId]) then
        local key = ("%s %s %s"):format(part.url, nonnull(part.startLine) or "", nonnull(part.endLine) or "")
        if not known[key] then
          known[key] = true
          table.insert(found, part)
        end
      end
    end
  end
  return found
end

---Return the sources of the last answer, those of its question first, and earlier ones that it cites at the end.
local function of_last_answer(messages)
  local begin = #messages
  while begin > 1 do
    local turn, before = nonnull(messages[#messages].turnId), nonnull(messages[begin - 1].turnId)
    if messages[begin].role == "user" and not (turn and turn == before) then
      break
    end
    begin = begin - 1
  end
  local last, earlier = vim.list_slice(messages, begin), vim.list_slice(messages, 1, begin - 1)
  local cited, found = cited_in(last), sources_in(last)
  for _, source in ipairs(found) do
    cited[source.sourceId] = nil
  end
  return vim.list_extend(found, sources_in(earlier, cited))
end

---Return the row, from 1, where the quoted lines are in a buffer: where they were, or the nearest equal lines.
---The second value is false if they are not there any more.
local function row_of(buffer, source)
  local first = nonnull(source.startLine) or 1
  local quoted = vim.split((nonnull(source.text) or ""):gsub("\r\n?", "\n"):gsub("\n$", ""), "\n")
  local lines = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
  if source.ref or (#quoted == 1 and quoted[1] == "") then
    return math.min(first, #lines), true
  end
  local best
  for row = 1, #lines - #quoted + 1 do
    local is_equal = lines[row] == quoted[1]
    for index = 2, is_equal and #quoted or 0 do
      is_equal = is_equal and lines[row + index - 1] == quoted[index]
    end
    if is_equal and (not best or math.abs(row - first) < math.abs(best - first)) then
      best = row
    end
  end
  return best or math.min(first, #lines), best ~= nil
end

---Show a buffer in a window that has it, else in one that shows no chat, else in a new one.
local function show(buffer, is_chat)
  local window = vim.fn.bufwinid(buffer)
  if window ~= -1 then
    return vim.api.nvim_set_current_win(window)
  end
  for _, other in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    local is_free = not is_chat(vim.api.nvim_win_get_buf(other)) and vim.fn.win_gettype(other) == ""
    if is_free and pcall(vim.api.nvim_win_set_buf, other, buffer) then -- it may not abandon its buffer
      return vim.api.nvim_set_current_win(other)
    end
  end
  vim.cmd("topleft split")
  vim.api.nvim_win_set_buf(0, buffer)
end

---Open a source: a file at the line where the quoted text is now, a page in the browser.
---@param is_chat fun(buffer: integer): any whether a buffer belongs to a chat
function M.open(source, is_chat)
  local path = path_of(source)
  if not path then
    if source.url:match("^https?://") then
      return vim.ui.open(source.url)
    end
    return vim.notify("parley: " .. agent.visible(source.url), vim.log.levels.INFO)
  elseif not vim.uv.fs_stat(path) and vim.fn.bufexists(path) == 0 then
    return vim.notify(("parley: There is no file %s any more."):format(agent.visible(path)), vim.log.levels.WARN)
  end
  local buffer = vim.fn.bufadd(path)
  vim.fn.bufload(buffer)
  vim.bo[buffer].buflisted = true
  show(buffer, is_chat)
  local row, is_there = row_of(0, source)
  vim.cmd("normal! m'")
  vim.api.nvim_win_set_cursor(0, { row, 0 })
  vim.cmd("normal! zz")
  if not is_there then
    vim.notify("parley: The file has changed since it was quoted.", vim.log.levels.WARN)
  end
end

local function with_messages(chat, callback)
  client.request("chat/get", { chatId = chat.id, limit = 200 }, function(result)
    callback(result.messages)
  end)
end

---List the sources of the last answer of a chat, and open the chosen one.
---@param chat parley.Chat
---@param is_chat fun(buffer: integer): any
function M.list(chat, is_chat)
  with_messages(chat, function(messages)
    local found = of_last_answer(messages)
    if #found == 0 then
      return vim.notify("The last answer has no sources.", vim.log.levels.INFO)
    end
    local options = { prompt = "Sources of the last answer", format_item = M.describe }
    vim.ui.select(found, options, function(source)
      return source and M.open(source, is_chat)
    end)
  end)
end

---Open the source with an id that a chat's messages have.
---@param id string
function M.open_cited(chat, id, is_chat)
  with_messages(chat, function(messages)
    local found = sources_in(messages, { [id] = true })
    if #found == 0 then
      return vim.notify(("The chat has no source %s."):format(id), vim.log.levels.WARN)
    end
    M.open(found[#found], is_chat)
  end)
end

return M
