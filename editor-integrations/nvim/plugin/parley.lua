-- Defines the commands. The rest of the plugin is loaded when one of them is used.
local command = vim.api.nvim_create_user_command
command("Parley", function(args)
  require("parley").open(args.args, args.range > 0 and { args.line1, args.line2 } or nil)
end, { nargs = "*", range = true, desc = "Open a new chat, or ask a question in one" })
command("ParleyChats", function()
  require("parley").pick()
end, { desc = "Reopen a stored chat" })
command("ParleyStop", function()
  require("parley").stop()
end, { desc = "Interrupt the answer in this chat" })
