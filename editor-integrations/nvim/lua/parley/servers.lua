-- MCP servers and the agents that a model has started: choose one, then what to do with it.
local client = require("parley.client")
local agent = require("parley.agent")
local M = {}

local STATES = {
  configured = "not started yet",
  known = "not running",
  untrusted = "waits for trust",
  needs_auth = "needs authorization",
}

local function nonnull(value)
  return client.nil_if_null(value)
end

---Return how a server is reached.
local function target_of(server)
  return agent.visible(nonnull(server.url) or table.concat(nonnull(server.command) or {}, " "))
end

---Return one line about a server.
function M.describe_server(server)
  local text = ("%s  %s"):format(agent.visible(server.name), STATES[server.state] or server.state)
  local tools = nonnull(server.tools)
  text = text .. (tools and (", %d tools"):format(tools) or "") .. "  " .. target_of(server)
  local problem = nonnull(server.error)
  return problem and text .. "  — " .. agent.visible(problem) or text
end

---Show what has become of a server.
local function report(name)
  return function(result)
    for _, server in ipairs(result.servers) do
      if server.name == name then
        vim.notify("parley: " .. M.describe_server(server), server.state == "failed" and vim.log.levels.WARN or nil)
      end
    end
  end
end

---Return what can be done with a server.
local function actions_of(server, where)
  local named = vim.tbl_extend("force", where, { name = server.name })
  local root, hash = nonnull(server.root), nonnull(server.hash)
  if server.state == "untrusted" then
    return { {
      text = ("Trust %s/.mcp.json as it is now: it starts %s"):format(agent.visible(root), target_of(server)),
      run = function()
        client.request("workspace/trust", { root = root, hash = hash, trusted = true }, function()
          client.request("mcp/list", where, report(server.name))
        end)
      end,
    } }
  end
  local actions = { {
    text = server.state == "running" and "Restart" or "Start",
    run = function()
      client.request("mcp/restart", named, report(server.name))
    end,
  } }
  if nonnull(server.url) then
    table.insert(actions, {
      text = "Authorize in a browser",
      run = function()
        client.request("mcp/authenticate", named, function(result)
          vim.notify("parley: " .. agent.visible(result.url))
          vim.ui.open(result.url)
        end)
      end,
    })
  end
  return actions
end

local function choose(items, prompt, describe, callback)
  vim.ui.select(items, { prompt = prompt, format_item = describe }, function(item)
    return item and callback(item)
  end)
end

local function describe_action(action)
  return action.text
end

---List the servers of a chat, or of the present folder, and do something with one.
---@param chat? parley.Chat
function M.servers(chat)
  local root = vim.uri_from_fname(vim.fs.normalize(vim.fn.getcwd()))
  local where = chat and { chatId = chat.id } or { root = root }
  client.request("mcp/list", where, function(result)
    local problem = nonnull(result.problem)
    for _, complaint in ipairs(result.complaints) do
      problem = ("%s: %s"):format(complaint.path, complaint.problem)
    end
    if problem then
      vim.notify("parley: " .. agent.visible(problem), vim.log.levels.WARN)
    end
    if #result.servers == 0 then
      return vim.notify("There are no MCP servers. `parley mcp add` adds one.")
    end
    choose(result.servers, "MCP server", M.describe_server, function(server)
      choose(actions_of(server, where), server.name, describe_action, function(action)
        action.run()
      end)
    end)
  end)
end

---Return one line about a child chat.
function M.describe_child(child)
  local cost = nonnull(child.usage.costUsd)
  local title = agent.visible(nonnull(child.title) or "untitled")
  return ("%s  %s%s"):format(child.status, title, cost and ("  $%.4f"):format(cost) or "")
end

---List the agents that the model of a chat has started, and open or stop one.
---@param chat parley.Chat
---@param open fun(chat_id: string)
function M.agents(chat, open)
  client.request("chat/get", { chatId = chat.id, limit = 1 }, function(result)
    local children = nonnull(result.children) or {}
    if #children == 0 then
      return vim.notify("The model has started no agents in this chat.")
    end
    local cost = nonnull(result.chat.usageTree.costUsd)
    local prompt = cost and ("Agents, $%.4f with this chat"):format(cost) or "Agents"
    choose(children, prompt, M.describe_child, function(child)
      local actions = { { text = "Open", run = open }, { text = "Stop", run = function(id)
        client.request("chat/interrupt", { chatId = id })
      end } }
      choose(actions, M.describe_child(child), describe_action, function(action)
        action.run(child.childChatId)
      end)
    end)
  end)
end

return M
