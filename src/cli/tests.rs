use clap::CommandFactory;

use super::*;

#[test]
fn every_command_and_flag_is_well_formed_and_explained() {
    let command = Cli::command();
    command.clone().debug_assert();
    for command in command.get_subcommands() {
        assert!(
            command.get_about().is_some(),
            "{} has no help",
            command.get_name()
        );
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_else(|| panic!("{} has no examples", command.get_name()));
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(98), "{} wraps its help", command.get_name());
    }
}

#[test]
fn mistakes_on_the_command_line_are_told_apart_from_help() {
    for (arguments, mistake) in [
        (vec!["rowcast"], true),
        (vec!["rowcast", "--help"], false),
        (vec!["rowcast", "--version"], false),
        (vec!["rowcast", "attach", "--help"], false),
        (vec!["rowcast", "attach"], true),
        (vec!["rowcast", "serve", "--set", "listen"], true),
        (vec!["rowcast", "nothing"], true),
    ] {
        let error = Cli::try_parse_from(&arguments).expect_err("no command");
        assert_eq!(error.exit_code() != 0, mistake, "{arguments:?}");
    }
}

#[test]
fn settings_may_stand_before_and_after_the_command() {
    for arguments in [
        ["rowcast", "--database-url", "postgres://h/d", "migrate"],
        ["rowcast", "migrate", "--database-url", "postgres://h/d"],
    ] {
        let cli = Cli::try_parse_from(arguments).expect("a command");
        assert!(matches!(cli.command, Command::Migrate(_)));
    }
}
