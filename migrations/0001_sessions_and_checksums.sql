CREATE TABLE `sm_session` (
	`client` text PRIMARY KEY NOT NULL,
	`last_index` integer NOT NULL,
	`acknowledged` integer NOT NULL,
	`checksum` integer
);
--> statement-breakpoint
CREATE TABLE `sm_session_reply` (
	`client` text NOT NULL,
	`sequence` integer NOT NULL,
	`outcome` text NOT NULL,
	`checksum` integer,
	PRIMARY KEY(`client`, `sequence`)
);
--> statement-breakpoint
ALTER TABLE `raft_applied` ADD `state_hash` blob;--> statement-breakpoint
ALTER TABLE `raft_applied` ADD `checksum` integer;--> statement-breakpoint
ALTER TABLE `raft_floor` ADD `config_index` integer;--> statement-breakpoint
ALTER TABLE `raft_floor` ADD `checksum` integer;--> statement-breakpoint
ALTER TABLE `raft_hard` ADD `checksum` integer;--> statement-breakpoint
ALTER TABLE `raft_identity` ADD `recovery_epoch` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `raft_identity` ADD `checksum` integer;--> statement-breakpoint
ALTER TABLE `sm_event` ADD `checksum` integer;--> statement-breakpoint
ALTER TABLE `sm_reply` ADD `checksum` integer;--> statement-breakpoint
ALTER TABLE `sm_state` ADD `checksum` integer;--> statement-breakpoint
DROP INDEX `sm_reply_command`;
