-- What MCP servers offer to people: prompts, sent as messages, and resources, which a message names as
-- "@server:uri". What names no server of the chat is text.
local client, agent = require("parley.client"), require("parley.agent")
local M = {}

local function visible_line(text)
  return agent.visible((tostring(text):gsub("%s+", " ")))
end

local MENTION = "%s@([%w_.-]+):(%S+)"

---Call `send` with a text, or with its parts if it names resources of the chat's servers.
function M.with_resources(chat_id, text, send, failed)
  if not (" " .. text):find(MENTION) then
    return send(text)
  end
  client.request("mcp/list", { chatId = chat_id }, function(result)
    local known, parts = {}, { { type = "text", text = text } }
    for _, server in ipairs(result.servers) do
      known[server.name] = true
    end
    for server, name in (" " .. text):gmatch(MENTION) do
      name = name:gsub("[.,;:!?'\")]+$", "") -- what the sentence has behind it
      local uri = ("@%s:%s"):format(server, name)
      if name ~= "" and known[server] and not known[uri] then
        known[uri] = true
        table.insert(parts, { type = "reference", uri = uri })
      end
    end
    send(#parts > 1 and parts or text)
  end, failed)
end

---List what a method offers, and say which servers are not available; `take` gets the one that is chosen.
local function choose(chat, method, field, what, name_of, take)
  client.request(method, { chatId = chat.id }, function(result)
    for _, one in ipairs(result.unavailable) do
      vim.notify(("parley: %s: %s"):format(visible_line(one.server), visible_line(one.reason)), vim.log.levels.WARN)
    end
    if #result[field] == 0 then
      return vim.notify(("The MCP servers of this chat have no %s."):format(field))
    end
    local function describe(one)
      local about = client.nil_if_null(one.description) or client.nil_if_null(one.title)
      return visible_line(name_of(one) .. (about and "  " .. about or ""))
    end
    vim.ui.select(result[field], { prompt = what, format_item = describe }, function(one)
      return one and take(one)
    end)
  end)
end

---Ask for the arguments of a prompt, one after the other. Nothing is sent if the person gives up.
local function ask_arguments(prompt, send, at, given)
  local argument = prompt.arguments[at]
  if not argument then
    return send(given)
  end
  local about = client.nil_if_null(argument.description)
  local hint = (about and ", " .. visible_line(about) or "") .. (argument.required and "" or " (may be empty)")
  vim.ui.input({ prompt = visible_line(argument.name) .. hint .. ": " }, function(text)
    if not text then
      return
    elseif text == "" and argument.required then
      return vim.notify(("parley: %s is needed. Nothing was sent."):format(visible_line(argument.name)), vim.log.levels.WARN)
    end
    given[argument.name] = text ~= "" and text or nil
    ask_arguments(prompt, send, at + 1, given)
  end)
end

---Choose a prompt of a server, ask for its arguments, and send it.
---@param chat parley.Chat
function M.prompts(chat)
  choose(chat, "mcp/prompts", "prompts", "Prompt", function(one)
    return one.command
  end, function(prompt)
    ask_arguments(prompt, function(given)
      local arguments = next(given) and given or nil
      chat:send({ { type = "prompt", server = prompt.server, name = prompt.name, arguments = arguments } })
    end, 1, {})
  end)
end

---Choose a resource of a server, and name it in the message that is being written.
---@param chat parley.Chat
function M.resources(chat)
  choose(chat, "mcp/resources", "resources", "Resource", function(one)
    return one.reference
  end, function(one)
    chat:append(one.reference .. " ")
  end)
end

return M
