package metastore

import (
	"context"
	"errors"
	"io/fs"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// Statistics of columns as Hive's ANALYZE TABLE ... FOR COLUMNS leaves them, for tests: a publish removes them.

// Analyse gives an integer column of a partition, or ("") of the table, statistics that count as exact.
func (m *Client) Analyse(ctx context.Context, t *Table, partition, column string, low, high int64) error {
	s := hmsapi.NewColumnStatistics()
	s.StatsDesc = &hmsapi.ColumnStatisticsDesc{DbName: t.Database, TableName: t.Name, IsTblLevel: partition == ""}
	if partition != "" {
		s.StatsDesc.PartName = &partition
	}
	s.StatsObj = []*hmsapi.ColumnStatisticsObj{{ColName: column, ColType: "bigint", StatsData: &hmsapi.ColumnStatisticsData{
		LongStats: &hmsapi.LongColumnStatsData{LowValue: &low, HighValue: &high, NumDVs: high - low + 1}}}}
	s.Engine = pointer("hive")
	return at(m.call(ctx, "set statistics", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) (err error) {
		if partition == "" {
			_, err = api.UpdateTableColumnStatistics(ctx, s)
		} else {
			_, err = api.UpdatePartitionColumnStatistics(ctx, s)
		}
		return err
	}), t.FullName())
}

// Analysed is how many of these columns of a partition, or ("") of the table, have statistics.
func (m *Client) Analysed(ctx context.Context, t *Table, partition string, columns ...string) (n int, err error) {
	err = m.call(ctx, "get statistics", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		if partition == "" {
			r, err := api.GetTableStatisticsReq(ctx, &hmsapi.TableStatsRequest{DbName: t.Database, TblName: t.Name, ColNames: columns, Engine: "hive"})
			if err == nil {
				n = len(r.TableStats)
			}
			return err
		}
		r, err := api.GetPartitionsStatisticsReq(ctx, &hmsapi.PartitionsStatsRequest{DbName: t.Database, TblName: t.Name, ColNames: columns, PartNames: []string{partition}, Engine: "hive"})
		if err == nil {
			n = len(r.PartStats[partition])
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) { // how some versions say that there are none
		return 0, nil
	}
	return n, at(err, t.FullName())
}
