CREATE TABLE `accounts` (
	`owner` text PRIMARY KEY NOT NULL,
	`credits` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `idempotency_records` (
	`scope` text NOT NULL,
	`field` text NOT NULL,
	`key` text NOT NULL,
	`fingerprint` text NOT NULL,
	`resource_id` text,
	`format` text NOT NULL,
	`payload` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`lease_until` integer,
	`fencing_token` integer,
	PRIMARY KEY(`key`, `field`, `scope`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_records_resource_id` ON `idempotency_records` (`resource_id`);--> statement-breakpoint
CREATE INDEX `idempotency_records_expires_at` ON `idempotency_records` (`expires_at`);