-- The forms of MCP servers (elicitation): their fields as text, and the answers to them, one after the other.
local client = require("parley.client")
local M = {}

local YES_OR_NO = { { value = true, label = "yes" }, { value = false, label = "no" } }
local NONE = {} -- the answer to a field that is left out

---Return the choices of a schema as `{ value, label }`; nil: it has none.
local function choices_of(schema)
  local titled = client.nil_if_null(schema.oneOf) or client.nil_if_null(schema.anyOf)
  if titled then
    return vim.tbl_map(function(one)
      return { value = one.const, label = tostring(one.title or one.const) }
    end, titled)
  end
  local names = client.nil_if_null(schema.enumNames) or {}
  local values = client.nil_if_null(schema.enum)
  local choices = values and {}
  for index, value in ipairs(values or {}) do
    choices[index] = { value = value, label = tostring(names[index] or value) }
  end
  return choices
end

---Return the fields of a form, those that are needed first; nil: the request has no form.
function M.fields(request)
  local form = client.nil_if_null(request.preview.form)
  local schema = form and client.nil_if_null(form.answerSchema)
  if request.kind ~= "elicitation" or not schema then
    return nil
  end
  local fields = {}
  for name, field in pairs(schema.properties) do
    local is_list = field.type == "array"
    table.insert(fields, {
      name = name,
      label = field.title or name,
      description = field.description,
      type = field.type,
      is_list = is_list,
      needed = vim.tbl_contains(client.nil_if_null(schema.required) or {}, name),
      default = client.nil_if_null(field.default),
      choices = field.type == "boolean" and YES_OR_NO or choices_of(is_list and field.items or field),
    })
  end
  table.sort(fields, function(one, other)
    if one.needed ~= other.needed then
      return one.needed
    end
    return one.name < other.name
  end)
  return fields
end

---Return the words of a server and the fields of its form. `visible` shows every character of a text.
function M.describe(request, visible)
  local form = request.preview.form
  local text = "\n\n" .. visible(form.message)
  local url, about = client.nil_if_null(request.preview.url), "asks this and gets the answer: no secrets of yours."
  if url then
    local host = url:match("^%a+://([^/?#\\]*)") or "?"
    about = ("wants you to visit a page of %s. Open it yourself, and only if you expected this and trust that host."):format(
      visible((host:gsub("^.*@", "")))
    )
  end
  text = text .. ("\n\nThe MCP server %s %s"):format(visible(form.server), about)
  for number, field in ipairs(M.fields(request) or {}) do
    text = text .. ("\n\n%d. **%s**%s"):format(number, visible(field.label), field.needed and "" or " (may be left out)")
    text = text .. (field.description and "\n   " .. visible(field.description) or "")
    for index, choice in ipairs(field.type ~= "boolean" and field.choices or {}) do
      text = text .. ("\n   %d. %s"):format(index, visible(choice.label))
    end
  end
  return text
end

---Return the value of a choice by its number or its label.
local function choose(field, text)
  for index, choice in ipairs(field.choices) do
    if text == tostring(index) or text == choice.label then
      return choice.value
    end
  end
end

---Return the value that a text is for a field; nil: it is none.
local function read(field, text)
  if text == "" then
    return not field.needed and (field.default == nil and NONE or field.default) or nil
  elseif field.is_list then
    local values = {}
    for _, one in ipairs(vim.split(text, "%s*,%s*", { trimempty = true })) do
      local value = choose(field, one)
      if value == nil then
        return nil
      end
      table.insert(values, value)
    end
    return values
  elseif field.type == "number" or field.type == "integer" then
    local number = tonumber(text)
    return number and (field.type == "number" or number % 1 == 0) and number or nil
  end
  return text
end

---Ask for the value of a field; `take` gets it. Nothing is taken if the person gives up.
local function ask(field, label, take)
  if field.choices and not field.is_list then
    local items = vim.deepcopy(field.choices)
    if not field.needed then
      table.insert(items, { label = "(leave it out)", value = NONE })
    end
    return vim.ui.select(items, { prompt = label, format_item = function(item)
      return item.label
    end }, function(item)
      return item and take(item.value)
    end)
  end
  local hint = field.is_list and " (numbers, with commas)" or field.needed and "" or " (may be empty)"
  local default = type(field.default) ~= "table" and field.default ~= nil and tostring(field.default) or nil
  vim.ui.input({ prompt = label .. hint .. ": ", default = default }, function(text)
    local value = text and read(field, vim.trim(text))
    if value ~= nil then
      return take(value)
    elseif text then
      vim.notify(("parley: this is no answer to %s. Use :ParleyAllow again."):format(label), vim.log.levels.WARN)
    end
  end)
end

---Ask for the answers to a form, field by field; `send` gets all of them.
---@param line fun(text: string): string shows every character of a text, in one line
---@param send fun(answers: table)
function M.fill_in(request, line, send, at, answers)
  local fields = M.fields(request) or {}
  at, answers = at or 1, answers or vim.empty_dict()
  local field = fields[at]
  if not field then
    return send(answers)
  end
  ask(field, line(field.label), function(value)
    if value ~= NONE then
      answers[field.name] = value
    end
    M.fill_in(request, line, send, at + 1, answers)
  end)
end

return M
