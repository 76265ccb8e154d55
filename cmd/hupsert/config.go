package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) configCommand() *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "config TABLE [--set NAME=VALUE]...",
		Short: "Show or declare what goes with a table, such as its key",
		Long: `Without --set, prints what is declared with the table. Declared once, the key
and the order of versions need no flags in daily jobs. It is kept in
table.yaml in the state folder beside the table.

  key            primary-key columns: order_id,line_no
  order-by       version columns: updated_at or seq,updated_at:desc
  partition-by   partition columns with types: dt:date,region
  schema         columns of a table without files: id bigint, name string
  keep-history   how long each run keeps earlier versions: 168h

An empty value removes a declaration.`,
		Example: `  hupsert config ./orders --set key=order_id,line_no --set order-by=updated_at
  hupsert config ./orders

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.config(cmd.Context(), args[0], set) },
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "`NAME=VALUE` to declare; repeatable")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) config(ctx context.Context, name string, set []string) error {
	values := map[string]string{}
	for _, item := range set {
		key, value, found := strings.Cut(item, "=")
		if !found {
			return usageError{fmt.Errorf("--set %s: want NAME=VALUE", item), "hupsert config --help lists the names"}
		}
		values[key] = value
	}
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	var c partition.TableConfig
	if len(values) > 0 {
		c, err = table.SetConfig(ctx, values)
	} else {
		c, err = table.ReadConfig(ctx)
	}
	if err != nil {
		return err
	}
	s.printConfig(c)
	return nil
}

func (s *session) printConfig(c partition.TableConfig) {
	switch {
	case s.output == "json":
		s.printJSON(c)
		return
	case s.quiet:
		return
	}
	g := newGrid("<name", "<value")
	for _, row := range [][2]string{
		{"key", strings.Join(c.Key, ",")},
		{"order-by", strings.Join(c.OrderBy, ",")},
		{"partition-by", strings.Join(c.PartitionBy, ",")},
		{"schema", c.Schema},
		{"keep-history", c.KeepHistory},
	} {
		if row[1] != "" {
			g.row(row[0], row[1])
		}
	}
	if len(g.rows) == 0 {
		fmt.Fprintln(s.stdout, "nothing is declared; a key, for example: --set key=id")
		return
	}
	g.write(s.stdout)
}
