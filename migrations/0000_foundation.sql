CREATE TABLE `raft_applied` (
	`id` integer PRIMARY KEY NOT NULL,
	`idx` integer NOT NULL,
	CONSTRAINT "raft_applied_one_row" CHECK("raft_applied"."id" = 0)
);
--> statement-breakpoint
CREATE TABLE `raft_floor` (
	`id` integer PRIMARY KEY NOT NULL,
	`idx` integer NOT NULL,
	`term` integer NOT NULL,
	`config` text,
	`chain` blob NOT NULL,
	CONSTRAINT "raft_floor_one_row" CHECK("raft_floor"."id" = 0)
);
--> statement-breakpoint
CREATE TABLE `raft_hard` (
	`id` integer PRIMARY KEY NOT NULL,
	`term` integer NOT NULL,
	`vote` text,
	`commit_index` integer NOT NULL,
	CONSTRAINT "raft_hard_one_row" CHECK("raft_hard"."id" = 0)
);
--> statement-breakpoint
CREATE TABLE `raft_identity` (
	`id` integer PRIMARY KEY NOT NULL,
	`cluster_id` text NOT NULL,
	`member_id` text NOT NULL,
	`origin` text NOT NULL,
	`promotable_from` integer NOT NULL,
	`peers` text NOT NULL,
	CONSTRAINT "raft_identity_one_row" CHECK("raft_identity"."id" = 0)
);
--> statement-breakpoint
CREATE TABLE `raft_log` (
	`idx` integer PRIMARY KEY NOT NULL,
	`term` integer NOT NULL,
	`kind` text NOT NULL,
	`data` blob NOT NULL,
	`chain` blob NOT NULL
);
--> statement-breakpoint
CREATE TABLE `sm_event` (
	`id` integer PRIMARY KEY NOT NULL,
	`event` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `sm_reply` (
	`sequence` integer PRIMARY KEY NOT NULL,
	`command_id` text NOT NULL,
	`outcome` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `sm_reply_command` ON `sm_reply` (`command_id`);--> statement-breakpoint
CREATE TABLE `sm_state` (
	`id` integer PRIMARY KEY NOT NULL,
	`state` text NOT NULL,
	CONSTRAINT "sm_state_one_row" CHECK("sm_state"."id" = 0)
);
