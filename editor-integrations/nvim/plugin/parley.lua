-- Defines the commands. The rest of the plugin is loaded when one of them is used.
local command = vim.api.nvim_create_user_command
command("Parley", function(args)
  require("parley").open(args.args, args.range > 0 and { args.line1, args.line2 } or nil)
end, { nargs = "*", range = true, desc = "Open a new chat, or ask a question in one" })
command("ParleyAgent", function(args)
  local mode = require("parley.client").config.agent_mode
  require("parley").open(args.args, args.range > 0 and { args.line1, args.line2 } or nil, mode)
end, { nargs = "*", range = true, desc = "Open a new chat whose model may use tools in this folder" })
for name, how in pairs({ Allow = "allow", Always = "always", Answer = "answer" }) do
  command("Parley" .. name, function()
    require("parley").respond(how)
  end, { desc = "Answer what the model asks for: " .. how })
end
command("ParleyDeny", function(args)
  require("parley").respond("deny", args.args)
end, { nargs = "*", desc = "Deny what the model asks for, with a reason that it reads" })
command("ParleyChats", function()
  require("parley").pick()
end, { desc = "Reopen a stored chat" })
command("ParleyMcp", function()
  require("parley").servers()
end, { desc = "List the MCP servers; start, trust or authorize one" })
for name, what in pairs({ Prompts = "prompts", Resources = "resources" }) do
  command("Parley" .. name, function()
    require("parley").offers(what)
  end, { desc = "Choose one of the " .. what .. " that MCP servers offer" })
end
command("ParleyAgents", function()
  require("parley").agents()
end, { desc = "List the agents that the model of this chat has started; open or stop one" })
command("ParleySources", function()
  require("parley").sources()
end, { desc = "List the sources of the last answer of this chat, and open one at its line" })
command("ParleyStop", function()
  require("parley").stop()
end, { desc = "Interrupt the answer in this chat" })
