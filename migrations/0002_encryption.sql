PRAGMA foreign_keys=OFF;--> statement-breakpoint
CREATE TABLE `__new_sm_state` (
	`id` integer PRIMARY KEY NOT NULL,
	`state` blob NOT NULL,
	`checksum` integer,
	CONSTRAINT "sm_state_one_row" CHECK("__new_sm_state"."id" = 0)
);
--> statement-breakpoint
INSERT INTO `__new_sm_state`("id", "state", "checksum") SELECT "id", "state", "checksum" FROM `sm_state`;--> statement-breakpoint
DROP TABLE `sm_state`;--> statement-breakpoint
ALTER TABLE `__new_sm_state` RENAME TO `sm_state`;--> statement-breakpoint
PRAGMA foreign_keys=ON;