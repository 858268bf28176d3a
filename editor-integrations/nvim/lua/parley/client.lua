-- One LSP client for all chats: requests, progress by token, and starting again when the daemon is lost.
---@class parley.Config
---@field cmd string[] what speaks the protocol on its standard streams
---@field min_interval_ms integer the shortest time between two updates of a buffer
local M = { config = { cmd = { "parleyd", "stdio", "--shared" }, min_interval_ms = 30 } }

local RESTARTS = 3
local id, losses = nil, 0
local chats = {} ---@type table<string, parley.Chat> by token
local waiting = {} ---@type (fun(lsp: vim.lsp.Client))[] for the client to be ready

---Return a value of JSON, nil for its null.
function M.present(value)
  return value ~= vim.NIL and value or nil
end

local function lost()
  id, waiting = nil, {}
  if vim.v.exiting ~= vim.NIL or vim.tbl_isempty(chats) then
    return
  end
  losses = losses + 1
  if losses > RESTARTS then
    return vim.notify("parleyd is lost. :Parley tries again.", vim.log.levels.ERROR)
  elseif losses == 1 then
    vim.notify("parleyd is lost, connecting again", vim.log.levels.WARN)
  end
  vim.defer_fn(function()
    for _, chat in pairs(chats) do
      chat:subscribe()
    end
  end, 100 * 2 ^ losses)
end

local function progress(_, params)
  if chats[params.token] then
    chats[params.token]:event(params.value)
  end
end

local function ready(lsp)
  local now = waiting
  waiting = {}
  for _, run in ipairs(now) do
    run(lsp)
  end
end

---@param run fun(lsp: vim.lsp.Client)
local function with_client(run)
  local lsp = id and vim.lsp.get_client_by_id(id)
  if lsp and lsp.initialized then
    return run(lsp)
  end
  table.insert(waiting, run)
  id = lsp and id or vim.lsp.start({
    name = "parley",
    cmd = M.config.cmd,
    init_options = { clientName = "nvim", minIntervalMs = M.config.min_interval_ms },
    handlers = { ["$/progress"] = progress },
    on_init = ready,
    on_exit = vim.schedule_wrap(lost),
  }, { attach = false })
end

---Send a request. An error is shown, and `failed` is called.
---@param done? fun(result: any)
---@param failed? fun()
function M.request(method, params, done, failed)
  with_client(function(lsp)
    lsp:request(method, next(params) and params or vim.empty_dict(), function(err, result)
      if err then
        vim.notify("parley: " .. err.message, vim.log.levels.ERROR)
      else
        losses = 0
      end
      local callback = err and failed or not err and done
      return callback and callback(result)
    end)
  end)
end

---Hear a chat's events under its id as the token; nil ends it.
function M.listen(token, chat)
  chats[token] = chat
  return chat or M.request("chat/unsubscribe", { partialResultToken = token })
end

---Let the daemon know a buffer's text as it is here, from now on.
function M.attach(buffer)
  with_client(function(lsp)
    vim.lsp.buf_attach_client(buffer, lsp.id)
  end)
end

return M
