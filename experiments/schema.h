/* schema.h - the text that creates the tables of records.sqlite; private to this folder. */
#ifndef RM_EXPERIMENTS_SCHEMA_H
#define RM_EXPERIMENTS_SCHEMA_H

extern const char rm_schema_sql[];

#endif
