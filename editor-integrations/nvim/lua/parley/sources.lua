-- The sources of an answer: which there are, and opening one where its text is now.
-- A source quotes a file as it was at one moment. If its lines are elsewhere by now, they are looked for.
local client = require("parley.client")
local agent = require("parley.agent")
local M, api = {}, vim.api

---Return the path of a file URI of this machine, relative to the present folder where it lies below it.
local function path_of(source)
  return source.url:match("^file:///") and vim.fn.fnamemodify(vim.uri_to_fname(source.url), ":.")
end

---Return one line about a source: its id if answers cite it, and where it is.
---@return string
function M.describe(source)
  local id, first, path = source.sourceId:match("^S%d+$"), client.nil_if_null(source.startLine), path_of(source)
  local lines = first and (":%d-%d"):format(first, client.nil_if_null(source.endLine) or first) or ""
  local text = (id and id .. "  " or "") .. (path and path .. lines or source.title .. "  " .. source.url)
  return (agent.visible(text):gsub("\n", " "))
end

---Return the row, from 1, where the quoted lines are in a buffer: where they were, or the nearest equal lines.
---The second value is false if they are not there any more.
local function row_of(buffer, source)
  local text = (client.nil_if_null(source.text) or ""):gsub("\r\n?", "\n"):gsub("\n$", "")
  local lines, quoted = api.nvim_buf_get_lines(buffer, 0, -1, false), vim.split(text, "\n")
  local first, best = math.min(client.nil_if_null(source.startLine) or 1, #lines), nil
  if source.ref or text == "" then
    return first, true
  end
  for row = 1, #lines - #quoted + 1 do
    local is_nearer = lines[row] == quoted[1] and (not best or math.abs(row - first) < math.abs(best - first))
    best = is_nearer and vim.deep_equal(vim.list_slice(lines, row, row + #quoted - 1), quoted) and row or best
  end
  return best or first, best ~= nil
end

---Show a buffer in a window that has it, else in one that shows no chat, else in a new one.
local function show(buffer, is_chat)
  local windows = vim.list_extend(vim.fn.win_findbuf(buffer), api.nvim_tabpage_list_wins(0))
  for _, window in ipairs(windows) do
    local is_free = not is_chat(api.nvim_win_get_buf(window)) and vim.fn.win_gettype(window) == ""
    if is_free and pcall(api.nvim_win_set_buf, window, buffer) then -- it may not abandon its buffer
      return api.nvim_set_current_win(window)
    end
  end
  vim.cmd("topleft split")
  api.nvim_win_set_buf(0, buffer)
end

---Open a source: a file at the line where the quoted text is now, a page in the browser.
---@param is_chat fun(buffer: integer): any whether a buffer belongs to a chat
function M.open(source, is_chat)
  local path = path_of(source)
  if source.url:match("^https?://") then
    return vim.ui.open(source.url)
  elseif not path or not vim.uv.fs_stat(path) then
    return vim.notify("parley: There is no file " .. agent.visible(path or source.url), vim.log.levels.WARN)
  end
  local buffer = vim.fn.bufadd(path)
  vim.fn.bufload(buffer)
  vim.bo[buffer].buflisted = true
  show(buffer, is_chat)
  local row, is_there = row_of(buffer, source)
  api.nvim_win_set_cursor(0, { row, 0 })
  vim.cmd("normal! zz")
  if not is_there then
    vim.notify("parley: The file has changed since it was quoted.", vim.log.levels.WARN)
  end
end

---Call the function with the sources of a chat: with the id, or those of the last turn.
local function with_sources(chat, id, callback)
  client.request("chat/get", { chatId = chat.id, limit = 200 }, function(result)
    local found, last = {}, result.messages[#result.messages] or {}
    for _, message in ipairs(result.messages) do
      for _, part in ipairs((id or message.turnId == last.turnId) and message.content or {}) do
        if part.type == "source" and part.sourceId == (id or part.sourceId) then
          table.insert(found, part)
        end
      end
    end
    if #found == 0 then
      return vim.notify(id and "The chat has no source " .. id .. "." or "The last answer has no sources.")
    end
    callback(found)
  end)
end

---List the sources of the last answer of a chat, and open the chosen one; or open the one with an id.
---@param chat parley.Chat
---@param id? string
function M.choose(chat, id, is_chat)
  with_sources(chat, id, function(found)
    if id then
      return M.open(found[#found], is_chat)
    end
    vim.ui.select(found, { prompt = "Sources", format_item = M.describe }, function(source)
      return source and M.open(source, is_chat)
    end)
  end)
end

return M
