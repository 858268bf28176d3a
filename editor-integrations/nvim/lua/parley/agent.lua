-- Chats that act: the steps of a turn and its questions as text, answers to the questions, and changed files.
local client = require("parley.client")
local forms = require("parley.forms")
local api = vim.api
local M = {}

local RESULT_LINES = 8
local MAIN = { "command", "pattern", "path", "url", "query", "from", "name" } -- what says most of a call
-- Characters that are invisible, reorder text, or look like a blank: what is asked must read as it is.
local INVISIBLE = {
  { 0x80, 0xA0 },
  { 0xAD, 0xAD },
  { 0x34F, 0x34F },
  { 0x61C, 0x61C },
  { 0x115F, 0x1160 },
  { 0x1680, 0x1680 },
  { 0x17B4, 0x17B5 },
  { 0x180B, 0x180F },
  { 0x2000, 0x200F },
  { 0x2028, 0x202F },
  { 0x205F, 0x206F },
  { 0x2800, 0x2800 },
  { 0x3000, 0x3000 },
  { 0x3164, 0x3164 },
  { 0xE000, 0xF8FF },
  { 0xFE00, 0xFE0F },
  { 0xFEFF, 0xFEFF },
  { 0xFFA0, 0xFFA0 },
  { 0xFFF0, 0xFFFB },
  { 0x1BCA0, 0x1BCA3 },
  { 0x1D173, 0x1D17A },
  { 0xE0000, 0x10FFFF },
}

---Return a text with every control and every invisible character shown. Line feeds and tabs are kept.
function M.visible(text)
  text = text:gsub("[\194-\244][\128-\191]+", function(char)
    local code = vim.fn.char2nr(char)
    for _, range in ipairs(INVISIBLE) do
      if code >= range[1] and code <= range[2] then
        return ("<U+%04X>"):format(code)
      end
    end
  end)
  return (text:gsub("[%z\1-\8\11-\31\127]", function(char)
    return ("<%02X>"):format(char:byte())
  end))
end

local function one_line(text)
  return M.visible((tostring(text):gsub("%s+", " ")))
end

---Return a call in one line: its tool, and the argument that says most.
function M.describe_call(name, args)
  local shown = ""
  for _, key in ipairs(type(args) == "table" and MAIN or {}) do
    if type(args[key]) == "string" then
      shown = "  " .. one_line(args[key])
      break
    end
  end
  return one_line(name) .. shown
end

---Return what an agent reports: its words, then its state, why it failed, and what it took.
local function report_text(report)
  local fields = { report.id:sub(-8) .. " " .. report.status }
  local failure, usage = client.nil_if_null(report.error), client.nil_if_null(report.usage) or {}
  table.insert(fields, failure and failure.message)
  local tokens = client.nil_if_null(usage.totalTokens)
  table.insert(fields, tokens and tokens .. " tokens")
  return vim.trim(vim.trim(report.text) .. "\n" .. table.concat(fields, " · "))
end

---Return the text of a report of agents, or of several; nil: it is none.
local function reports_of(result)
  local reports = vim.islist(result) and result or { result }
  for _, one in ipairs(reports) do
    if type(one) ~= "table" or not (one.id and one.status and one.text and one.elapsedMs) then
      return nil
    end
  end
  return #reports > 0 and table.concat(vim.tbl_map(report_text, reports), "\n") or nil
end

---Return what a result says, as lines: the last ones of an output.
local function result_lines(result)
  result = type(result) == "table" and reports_of(result) or result
  if type(result) == "table" then
    local texts = vim.tbl_map(function(part)
      return type(part) == "table" and part.text or ""
    end, vim.islist(result) and result or {})
    result = #texts > 0 and table.concat(texts, "\n") or vim.json.encode(result)
  end
  local text = result == vim.NIL and "" or tostring(result):gsub("\27%[[0-?]*[ -/]*[@-~]", "")
  local lines = vim.split(vim.trim(M.visible(text)), "\n")
  if #lines > RESULT_LINES then
    local more = #lines - RESULT_LINES
    lines = { ("… %d more lines"):format(more), unpack(lines, more + 1) }
  end
  return lines[1] == "" and {} or lines
end

---Return the text of a step that has ended, and whether it succeeded.
function M.describe_result(part, args)
  local done = part.outcome == "ok"
  local outcome = done and "" or " · " .. (part.outcome == "denied" and "not allowed" or one_line(part.outcome))
  local text = (done and "✓ " or "✗ ") .. M.describe_call(part.toolName, args) .. outcome
  local is_quiet = done and part.toolName:find("^read_") or part.toolName:find("^list_")
  for _, line in ipairs(is_quiet and {} or result_lines(part.result)) do
    text = text .. "\n    " .. line
  end
  return text, done
end

local function path_of(uri)
  return M.visible(vim.fn.fnamemodify(vim.uri_to_fname(uri), ":~:."))
end

---Return a text between fences that it does not contain.
local function fenced(language, text)
  local fence = "```"
  while text:find(fence, 1, true) do
    fence = fence .. "`"
  end
  return ("\n\n%s%s\n%s\n%s"):format(fence, language, (M.visible(text):gsub("\n$", "")), fence)
end

---Return where a rule counts. What a child chat asks becomes a rule of the chat that it works for.
local function scope_of(rule, chat_id)
  if rule.scope == "always" then
    return "in all chats"
  end
  if rule.scope.chatId and chat_id and rule.scope.chatId ~= chat_id then
    return ("in the main chat %s and its agents"):format(rule.scope.chatId:sub(-8))
  end
  return rule.scope.chatId and "in this chat" or "in all chats below " .. path_of(rule.scope.root)
end

---Return a rule as it is stored.
function M.describe_rule(rule, chat_id)
  return ("%s — %s"):format(M.visible(rule.text), scope_of(rule, chat_id))
end

---Return what a person has to see before answering. `chat_id` is the chat that shows the request.
function M.describe_request(request, chat_id)
  local preview, text = request.preview, "### " .. one_line(request.title)
  if request.chatId ~= chat_id then
    text = text .. '\n\nThe agent ' .. request.chatId:sub(-8) .. ' asks.'
  end
  local get = function(name)
    return client.nil_if_null(preview[name])
  end
  if get("form") then
    text = text .. forms.describe(request, M.visible)
  end
  if get("command") then
    text = text .. fenced("sh", get("command")) .. (get("cwd") and "\n\nin " .. path_of(get("cwd")) or "")
  end
  text = text .. (get("url") and fenced("", get("url")) or "")
  text = text .. (get("plan") and "\n\n" .. M.visible(get("plan")) or "")
  if get("diff") then
    text = text .. fenced("diff", get("diff"))
  elseif get("paths") then
    text = text .. "\n\n" .. table.concat(vim.tbl_map(path_of, get("paths")), "\n")
  end
  if not (get("command") or get("url") or get("plan") or get("diff") or get("questions") or get("form")) then
    local args = client.nil_if_null(request.args)
    text = text .. (args and next(args) and fenced("json", vim.json.encode(args)) or "")
  end
  for _, question in ipairs(get("questions") or {}) do
    text = text .. "\n\n" .. M.visible(question.text)
    for number, option in ipairs(client.nil_if_null(question.options) or {}) do
      text = text .. ("\n%d. %s"):format(number, one_line(option))
    end
  end
  for _, rule in ipairs(request.rules) do
    text = text .. "\n\n:ParleyAlways stores: " .. M.describe_rule(rule, request.chatId)
  end
  return text .. "\n\n:ParleyAllow, :ParleyDeny [reason] or :ParleyAnswer"
end

---Find out why a person is asked; a question of the model explains itself.
---@param callback fun(why: string)
function M.explain(request, callback)
  if request.kind == "permission" then
    local params = { chatId = request.chatId, toolName = request.toolName, args = request.args }
    client.request("permission/explain", params, function(verdict)
      callback(M.visible(verdict.why))
    end)
  end
end

---Return how a question was answered, and by which client.
function M.describe_answer(event)
  local by = client.nil_if_null(event.by)
  return event.outcome .. (by and by ~= "nvim" and " by " .. one_line(by) or "")
end

---Answer a question. The answer is bound to what was shown.
local function respond(request, decision, result)
  local params = { chatId = request.chatId, requestId = request.id, decision = decision, result = result }
  params.argsHash = request.argsHash ~= "" and request.argsHash or nil
  client.request("chat/respond", params)
end

---Ask for the answers to questions, one after the other.
local function answer_questions(request, answers)
  local questions = client.nil_if_null(request.preview.questions) or {}
  local question = questions[#answers + 1]
  if not question then
    return respond(request, "allow", { answers = answers })
  end
  local function take(text)
    if text and vim.trim(text) ~= "" then
      table.insert(answers, question.multi and vim.split(text, "%s*,%s*") or text)
      answer_questions(request, answers)
    end
  end
  local prompt = { prompt = one_line(question.text) .. " " }
  local options = vim.deepcopy(client.nil_if_null(question.options) or {})
  if #options == 0 or question.multi then
    return vim.ui.input(prompt, take)
  end
  table.insert(options, "(something else)")
  vim.ui.select(options, prompt, function(option, index)
    if index == #options then
      vim.ui.input(prompt, take)
    else
      take(option)
    end
  end)
end

---Allow what is asked; a question or a form gets its answers.
function M.allow(request)
  if request.kind == "question" then
    return answer_questions(request, {})
  elseif forms.fields(request) then
    return forms.fill_in(request, one_line, function(answers)
      respond(request, "allow", { answers = answers })
    end)
  end
  respond(request, "allow")
end

---Deny what is asked; the model reads the reason.
function M.deny(request, reason)
  respond(request, "deny", reason and reason ~= "" and { reason = reason } or nil)
end

---Choose a rule of those that are offered, store it, and allow what is asked.
function M.always(request)
  if #request.rules == 0 then
    return vim.notify("No rule is offered for this. :ParleyAllow allows it once.", vim.log.levels.WARN)
  end
  vim.ui.select(request.rules, { prompt = "Always", format_item = function(rule)
    return M.describe_rule(rule, request.chatId)
  end }, function(rule)
    return rule and respond(request, "allow_always", { ruleId = rule.id })
  end)
end

---Choose an answer.
function M.answer(request)
  local choices = { { text = (request.kind == "question" or forms.fields(request)) and "Answer" or "Allow", run = M.allow } }
  if #request.rules > 0 then
    table.insert(choices, { text = "Always …", run = M.always })
  end
  table.insert(choices, { text = "Deny", run = function()
    vim.ui.input({ prompt = "Reason (may be empty): " }, function(reason)
      return reason and M.deny(request, reason)
    end)
  end })
  local format = function(choice)
    return choice.text
  end
  vim.ui.select(choices, { prompt = one_line(request.title), format_item = format }, function(choice)
    return choice and choice.run(request)
  end)
end

---Read the files again that a tool has changed, in buffers without changes of one's own.
function M.reload(files)
  for _, file in ipairs(files) do
    local buffer = vim.fn.bufnr("^" .. vim.fn.escape(vim.uri_to_fname(file.path), "\\*?[]{}^$") .. "$")
    if buffer ~= -1 and api.nvim_buf_is_loaded(buffer) then
      if vim.bo[buffer].modified then
        vim.notify(("parley: %s was changed on disk, too."):format(path_of(file.path)), vim.log.levels.WARN)
      else
        vim.cmd(("silent! checktime %d"):format(buffer))
      end
    end
  end
end

return M
