-- Changes of open buffers by a model: `workspace/applyEdit` (LSP 3.17), and which buffers the daemon knows.
local api = vim.api
local M = {}

---Return why an edit cannot be applied to a buffer, nil if it can.
local function problem_of(buffer, version)
  if not api.nvim_buf_is_loaded(buffer) then
    return "the buffer is not loaded any more"
  elseif not vim.bo[buffer].modifiable or vim.bo[buffer].readonly then
    return "the buffer is read-only"
  elseif version and version ~= vim.NIL and vim.lsp.util.buf_versions[buffer] ~= version then
    return "the buffer has been changed meanwhile"
  end
end

---Apply an edit, all of it or nothing, as one step of the undo history. A buffer that had no changes of the
---user's own is written, so that commands see the change. Neovim's own handler reports an edit of an outdated
---version as applied.
---@param save boolean
function M.apply(params, encoding, save)
  local changes = {}
  if not params.edit.documentChanges then
    return { applied = false, failureReason = "the edit names no version" }
  end
  for _, change in ipairs(params.edit.documentChanges) do
    if not change.textDocument then
      return { applied = false, failureReason = "only text can be edited" }
    end
    local buffer = vim.uri_to_bufnr(change.textDocument.uri)
    local problem = problem_of(buffer, change.textDocument.version)
    if problem then
      return { applied = false, failureReason = problem }
    end
    table.insert(changes, { buffer = buffer, edits = change.edits, modified = vim.bo[buffer].modified })
  end
  for _, change in ipairs(changes) do
    vim.lsp.util.apply_text_edits(change.edits, change.buffer, encoding)
    if save and not change.modified and vim.fn.filereadable(api.nvim_buf_get_name(change.buffer)) == 1 then
      api.nvim_buf_call(change.buffer, function()
        vim.cmd("silent! update")
      end)
    end
  end
  return { applied = true }
end

---Call the function for each file below a folder that is open in a buffer, and that will be.
---@param attach fun(buffer: integer)
function M.follow(root, attach)
  local function consider(buffer)
    local name = vim.fs.normalize(api.nvim_buf_get_name(buffer))
    if vim.bo[buffer].buftype == "" and name ~= "" and vim.fs.relpath(root, name) then
      attach(buffer)
    end
  end
  for _, buffer in ipairs(api.nvim_list_bufs()) do
    if api.nvim_buf_is_loaded(buffer) then
      consider(buffer)
    end
  end
  local group = api.nvim_create_augroup("parley:" .. root, {})
  api.nvim_create_autocmd({ "BufReadPost", "BufNewFile", "BufFilePost" }, { group = group, callback = function(args)
    consider(args.buf)
  end })
end

return M
