-- One LSP client for all chats: requests, events by progress token, and reconnecting to a lost daemon.
---@class parley.Config
---@field cmd string[] the command that speaks the protocol on its standard streams
---@field min_interval_ms integer the minimum time between two updates of a buffer
---@field agent_mode string what the model may do unasked in a chat of :ParleyAgent
---@field save_edits boolean whether a buffer without changes of one's own is written after an edit by a model
local M = {
  config = { cmd = { "parleyd", "stdio", "--shared" }, min_interval_ms = 30, agent_mode = "ask", save_edits = true },
}
local editing = require("parley.editing")

local RESTARTS = 3
local id, losses = nil, 0
local chats = {} ---@type table<string, parley.Chat> by progress token
local callbacks = {} ---@type (fun(lsp: vim.lsp.Client))[] to be called once the client is initialized

---Return a JSON value, with nil for null.
function M.nil_if_null(value)
  return value ~= vim.NIL and value or nil
end

local function on_exit()
  id, callbacks = nil, {}
  if vim.v.exiting ~= vim.NIL or vim.tbl_isempty(chats) then
    return
  end
  losses = losses + 1
  if losses > RESTARTS then
    return vim.notify("The connection to parleyd was lost. Use :Parley to reconnect.", vim.log.levels.ERROR)
  elseif losses == 1 then
    vim.notify("The connection to parleyd was lost. Reconnecting ...", vim.log.levels.WARN)
  end
  vim.defer_fn(function()
    for _, chat in pairs(chats) do
      chat:subscribe()
    end
  end, 100 * 2 ^ losses)
end

local function on_progress(_, params)
  if chats[params.token] then
    chats[params.token]:handle_event(params.value)
  end
end

local function on_edit(_, params, context)
  local lsp = assert(vim.lsp.get_client_by_id(context.client_id))
  return editing.apply(params, lsp.offset_encoding, M.config.save_edits)
end

local function on_init(lsp)
  local pending = callbacks
  callbacks = {}
  for _, callback in ipairs(pending) do
    callback(lsp)
  end
end

---Call the function with the LSP client, once that is initialized.
---@param callback fun(lsp: vim.lsp.Client)
local function with_client(callback)
  local lsp = id and vim.lsp.get_client_by_id(id)
  if lsp and lsp.initialized then
    return callback(lsp)
  end
  table.insert(callbacks, callback)
  local capabilities = vim.lsp.protocol.make_client_capabilities()
  capabilities.workspace.workspaceEdit.documentChanges = true -- edits with the version that they were made for
  id = lsp and id or vim.lsp.start({
    name = "parley",
    cmd = M.config.cmd,
    capabilities = capabilities,
    init_options = { clientName = "nvim", minIntervalMs = M.config.min_interval_ms },
    handlers = { ["$/progress"] = on_progress, ["workspace/applyEdit"] = on_edit },
    on_init = on_init,
    on_exit = vim.schedule_wrap(on_exit),
  }, { attach = false })
end

---Send a request. An error is shown as a notification.
---@param on_result? fun(result: any)
---@param on_error? fun()
function M.request(method, params, on_result, on_error)
  with_client(function(lsp)
    lsp:request(method, next(params) and params or vim.empty_dict(), function(err, result)
      if err then
        vim.notify("parley: " .. err.message, vim.log.levels.ERROR)
      else
        losses = 0
      end
      local callback = err and on_error or not err and on_result
      return callback and callback(result)
    end)
  end)
end

---Deliver the events of a progress token to a chat; nil unsubscribes.
function M.listen(token, chat)
  chats[token] = chat
  return chat or M.request("chat/unsubscribe", { partialResultToken = token })
end

---Send the text of a buffer to the daemon, and its changes from now on (LSP document sync).
function M.attach(buffer)
  with_client(function(lsp)
    vim.lsp.buf_attach_client(buffer, lsp.id)
  end)
end

---Do so for all files below a folder, those that are opened later included.
function M.follow(root)
  editing.follow(root, M.attach)
end

return M
